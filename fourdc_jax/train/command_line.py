"""The command line of every script: its flags, and a config file whose values are flags, too."""

import argparse
import difflib
import importlib.util
import re
import traceback
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from types import ModuleType

from absl import flags
from ml_collections import ConfigDict, config_flags

from fourdc_jax.train.renamed_keys import translate_config, translate_flags

CONFIGS = Path(str(files("fourdc_jax.configs")))  # those that come with the package
OVERRIDE = re.compile(r"--?(no)?config\.")  # how a flag of a config's value begins

AddFlags = Callable[[argparse.ArgumentParser], None]


class Parser(argparse.ArgumentParser):
    """Raises what is wrong instead of printing it."""

    def error(self, message: str) -> None:
        """Raises ValueError with argparse's message."""
        raise ValueError(message.removeprefix("argument "))


def parse(
    arguments: Sequence[str],
    doc: str,
    add_flags: AddFlags,
    *,
    config: str | None = None,
    extra: bool = False,
) -> argparse.Namespace:
    """Reads a command line; `--max-rows` and `--max_rows` are the same flag.

    Args:
      arguments: the command line, without the script.
      doc: what `--help` begins with.
      add_flags: adds the script's own flags to a parser.
      config: None for a script without a config file; else the default of `--config`, "" for none.
        The namespace's `config` is then the ConfigDict, with what `--config.key=value` set.
      extra: whether arguments may follow a `--`; they become the namespace's `extra`.

    Raises:
      ValueError, OSError: what is wrong, and where there is a similar name, what may be meant.
    """
    parser = Parser(
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if config is not None:
        parser.add_argument(
            "--config",
            default=config or None,
            required=not config,
            metavar="FILE[:ARGUMENT]",
            help="a config; --config.key=value sets one of its values",
        )
    add_flags(parser)
    parser.add_argument("--traceback", action="store_true", help="show where an error arose")
    end = arguments.index("--") if extra and "--" in arguments else len(arguments)
    args, rest = parser.parse_known_args([spell(word) for word in arguments[:end]])
    if extra:
        args.extra = list(arguments[end + 1 :])
    check_known(rest, list(vars(args)), has_config=config is not None)
    if config is not None:
        args.config = override(load_config(args.config), rest)
    return args


def spell(word: str) -> str:
    """A flag with dashes for underscores in its name; values of a config keep their names."""
    if not word.startswith("--") or OVERRIDE.match(word):
        return word
    name, equals, value = word.partition("=")
    return f"{name.replace('_', '-')}{equals}{value}"


def check_known(rest: Sequence[str], names: Sequence[str], has_config: bool) -> None:
    """Raises ValueError for the first word that is no flag and sets no value of a config.

    Args:
      rest: what the parser left.
      names: of the flags that there are, as attributes.
      has_config: whether `--config.key=value` is a flag.
    """
    takes_value = False  # the word before is a flag `--config.key`, whose value is this word
    for word in rest:
        if not (has_config and (takes_value or OVERRIDE.match(word))):
            if not word.startswith("-"):
                hint = "; config values read --config.key=value" if has_config else ""
                raise ValueError(f"unexpected argument {word!r}{hint}")
            name = word.split("=")[0]
            known = [f"--{key.replace('_', '-')}" for key in names]
            similar = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {similar[0]}?" if similar else "; --help lists them"
            raise ValueError(f"there is no flag {name}{hint}")
        takes_value = not takes_value and "=" not in word


def find_file(name: str, folder: Path, listed: str = "") -> Path:
    """The file of that name, or where there is none the one in a folder of the package.

    Args:
      name: a path such as "configs/pretrain.py", or just "pretrain".
      folder: where scripts or configs of the package are.
      listed: what is in the text of those that are named where there is no such file.

    Raises:
      FileNotFoundError: there is neither.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    inside = path.parent in (Path(), Path(folder.name)) and path.suffix in ("", ".py")
    if inside and (packaged := folder / f"{path.stem}.py").is_file():
        return packaged
    names = sorted(file.stem for file in folder.glob("[!_]*.py") if listed in file.read_text())
    raise FileNotFoundError(
        f"there is no file {name}; {folder.name} of this package: {', '.join(names)}"
    )


def load_module(path: Path) -> ModuleType:
    """Runs a Python file that the user named.

    Raises:
      ValueError: it is no such file, or fails; with the line of the file.
    """
    if path.suffix != ".py":
        raise ValueError(f"{path} is no Python file: its name must end in .py")
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ValueError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
    except Exception as error:
        raise locate(error, path) from error
    return module


def load_config(spec: str) -> ConfigDict:
    """The config of "file.py", or of "file.py:argument".

    Raises:
      FileNotFoundError: there is no such file, here or in the package.
      ValueError: it fails, makes no config, or refuses its argument.
    """
    name, _, argument = spec.partition(":")
    path = find_file(name, CONFIGS, listed="def get_config(")
    module = load_module(path)
    if not hasattr(module, "get_config"):
        raise ValueError(f"{path} has no function get_config(argument) that returns a ConfigDict")
    try:
        config = module.get_config(argument) if argument else module.get_config()
    except ValueError:  # a sentence of its own
        raise
    except Exception as error:
        raise locate(error, path) from error
    if not isinstance(config, ConfigDict):
        raise ValueError(f"get_config of {path} returns a {type(config).__name__}, no ConfigDict")
    values = config.to_dict()
    if (translated := translate_config(values)) != values:  # a file of yours, from before
        config = ConfigDict(translated)
    return config.lock()


def locate(error: Exception, path: Path) -> ValueError:
    """What is wrong with a file that was run, and in which of its lines."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path.resolve()]
    where = f"{path}, line {lines[-1]}" if lines else str(path)
    return ValueError(f"{where}: {type(error).__name__}: {error}")


def override(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """The config with values from the command line, "--config.key=value" each.

    Raises:
      ValueError: it has no such key, or a value is of another type.
    """
    values = flags.FlagValues()
    overrides = translate_flags(overrides)
    words = ["", *overrides]  # the first is a program's name
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=words)
        rest = values(words)
    except (AttributeError, KeyError) as error:  # how ml_collections says that a key is unknown
        raise ValueError(explain_unknown_key(overrides, str(error))) from error
    except (flags.Error, TypeError) as error:
        raise ValueError(last_line(str(error)).removeprefix("flag ")) from error
    if len(rest) > 1:
        raise ValueError(f"unexpected argument {rest[1]!r}; config values read --config.key=value")
    return values.config


def explain_unknown_key(overrides: Sequence[str], error: str) -> str:
    """Which flag named a key that the config lacks, and what may have been meant.

    Args:
      overrides: "--config.key=value" each.
      error: ml_collections' message, with the key in quotes and perhaps a suggestion.
    """
    if inside := re.search(r"Attempting to lookup: ([\w.]+)", error):  # a value's own key
        return f"--config.{inside[1]}: the config has no such key"
    quoted = re.findall(r"""['"]([\w.]+)\\?['"]""", error)
    if not quoted:
        return error
    names = [word.lstrip("-").split("=", 1)[0] for word in overrides if word.startswith("-")]
    key, suggestion = quoted[0], next((word for word in quoted if word != quoted[0]), None)
    flag = next((name for name in names if key in name.split(".")), key)
    hint = f"; did you mean {suggestion!r}?" if suggestion else ""
    return f"--{flag}: the config has no key {key!r}{hint}"


def last_line(error: str) -> str:
    """What a nested traceback comes down to: its last line, without the exception's name."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return re.sub(r"^\w*(Error|Exception): ", "", lines[-1]) if lines else "wrong flags"


def at_least(lowest: int) -> Callable[[str], int]:
    """A flag's type: integers from `lowest` on."""

    def integer(text: str) -> int:
        value = int(text)
        if value < lowest:
            raise argparse.ArgumentTypeError(f"{value} is too small, at least {lowest} is needed")
        return value

    return integer


def positive(text: str) -> float:
    """A flag's type: numbers above 0."""
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def output_file(text: str) -> Path:
    """A flag's type: a file that can be written, told before anything is computed for it."""
    path = Path(text).expanduser()
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder: name a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent} to write {path.name}")
    return path
