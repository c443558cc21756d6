"""Every config file loads, is locked, holds plain values, and says how to run it."""

import importlib.util
import re
from pathlib import Path

import pytest
from fixtures.paths import ROOT
from ml_collections import ConfigDict

from fourdc_jax.train.renamed_keys import translate_flags

FOLDER = ROOT / "configs"
FILES = sorted(
    path for path in FOLDER.glob("*.py") if path.name not in ("__init__.py", "common.py")
)
PLAIN = (bool, int, float, str, type(None))


def load(path: Path):
    """The config module at `path`, as --config loads it."""
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def arguments(path: Path) -> list[str]:
    """ "" and every argument that the docstring's commands give after the file name."""
    found = re.findall(rf"--config[= ]\S*{path.name}:(\w+)", load(path).__doc__ or "")
    return ["", *sorted(set(found))]


def leaves(config: ConfigDict, prefix: str = ""):
    """(dotted key, value) of every value below `config`."""
    for key in config:
        value = config[key]
        if isinstance(value, ConfigDict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def is_plain(value) -> bool:
    """Whether a value is a number, text, None or a tuple of such."""
    return isinstance(value, PLAIN) or (
        isinstance(value, tuple) and all(is_plain(item) for item in value)
    )


def override(config: ConfigDict, key: str, value) -> None:
    """Set a dotted key, as --config.key=value does."""
    *parents, name = key.split(".")
    for parent in parents:
        config = config[parent]
    config[name] = value


def nested(config: ConfigDict, prefix: str = ""):
    """Dotted keys of all inner ConfigDicts, "" for the outermost."""
    yield prefix
    for key in config:
        if isinstance(config[key], ConfigDict):
            yield from nested(config[key], f"{prefix}.{key}".lstrip("."))


CASES = [pytest.param(path, a, id=f"{path.stem}:{a}") for path in FILES for a in arguments(path)]


def test_there_are_configs():
    assert "pretrain" in [path.stem for path in FILES]


@pytest.mark.parametrize(("path", "argument"), CASES)
def test_config_is_locked_and_plain(path, argument):
    config = load(path).get_config(argument)
    assert isinstance(config, ConfigDict)
    assert config.is_locked
    odd = {key: value for key, value in leaves(config) if not is_plain(value)}
    assert not odd, f"values are numbers, text, None or tuples of such: {odd}"


@pytest.mark.parametrize(("path", "argument"), CASES)
def test_an_unknown_key_is_rejected_at_every_level(path, argument):
    config = load(path).get_config(argument)
    levels = list(nested(config))
    for level in levels:
        with pytest.raises((AttributeError, KeyError)):
            override(config, f"{level}.no_such_key".lstrip("."), 1)


@pytest.mark.parametrize(("path", "argument"), CASES)
def test_a_call_gives_a_config_of_its_own(path, argument):
    module = load(path)
    first, second = module.get_config(argument), module.get_config(argument)
    assert first.to_dict() == second.to_dict()
    assert first is not second


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_docstring_holds_a_command_with_this_file(path):
    doc = load(path).__doc__ or ""
    scripts = re.findall(r"python (experiments/\w+\.py)", doc)
    assert scripts, f"{path.name}: no command `python experiments/...` in the head docstring"
    assert f"configs/{path.name}" in doc


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_unknown_argument_is_refused_by_name(path):
    with pytest.raises(ValueError, match="no_such_argument"):
        load(path).get_config("no_such_argument")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_sweep_overrides_existing_keys(path):
    module = load(path)
    known = {key for key, _ in leaves(module.get_config())}
    for overrides in module.sweep() if hasattr(module, "sweep") else []:
        flags = translate_flags([f"--config.{key}" for key in overrides])
        unknown = {flag.removeprefix("--config.") for flag in flags} - known
        assert not unknown, f"sweep() names keys that the config lacks: {sorted(unknown)}"
