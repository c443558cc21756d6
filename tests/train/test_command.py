"""A wrong command line ends in one readable sentence."""

import pathlib

import pytest
from absl import flags
from ml_collections import config_flags

from fourdc_jax.train import command

# How ml_collections 1.1 loads a config file.
pytestmark = pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")

CONFIG = """
from ml_collections import ConfigDict
def get_config(arg=""):
    if arg not in ("", "demo"):
        raise ValueError(f"config takes no argument or 'demo', got {arg!r}")
    return ConfigDict({"steps": 5, "names": ("a",), "data": {"scans": "x", "rate": 0.5}}).lock()
"""


def parse(tmp_path, monkeypatch, *arguments, config="config.py"):
    """The config and the flags of a command line."""
    (tmp_path / "config.py").write_text(CONFIG)
    values = flags.FlagValues()
    holder = config_flags.DEFINE_config_file("config", flag_values=values)
    command.define_flags(values)
    argv = ["program", f"--config={tmp_path / config}", *arguments]
    monkeypatch.setattr("sys.argv", argv)  # where ml_collections looks for overrides
    command.parse(argv, values)
    return holder.value, values


def test_a_right_command_line(tmp_path, monkeypatch):
    config, values = parse(
        tmp_path,
        monkeypatch,
        "--workdir=w",
        "--config.data.rate=1",
        "--config.names=('b', 'c')",
        config="config.py:demo",
    )
    assert (values.workdir, config.data.rate, config.names) == ("w", 1.0, ("b", "c"))
    assert values.coordinator is None
    assert pathlib.Path(values.compilation_cache).name == "xla"


@pytest.mark.parametrize(
    ("arguments", "config", "sentence"),
    [
        (
            ["--workdir=w", "--config.data.scnas=y"],
            "config.py",
            "error: --config.data.scnas: the config has no key 'scnas'; did you mean 'scans'?",
        ),
        (
            ["--workdir=w", "--config.zzz=y"],
            "config.py",
            "error: --config.zzz: the config has no key 'zzz'",
        ),
        (
            ["--workdir=w", "--config.steps=many"],
            "config.py",
            "error: flag --config.steps=many: invalid literal for int() with base 10: 'many'",
        ),
        (
            ["--workdir=w"],
            "config.py:dmo",
            "error: config takes no argument or 'demo', got 'dmo'",
        ),
        (["--workdir=w", "--wrokdir=v"], "config.py", "error: Unknown command line flag 'wrokdir'"),
        ([], "config.py", "error: flag --workdir=None: Flag --workdir must have a value"),
        (["--workdir=w"], "nowhere.py", "No such file or directory"),
    ],
)
def test_a_wrong_command_line_is_told_in_a_sentence(
    tmp_path, monkeypatch, arguments, config, sentence
):
    with pytest.raises(SystemExit) as info:
        parse(tmp_path, monkeypatch, *arguments, config=config)
    assert sentence in info.value.code
    assert info.value.code.startswith("error: ")
    assert "\n" not in info.value.code
