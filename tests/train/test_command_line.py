"""Flags in both spellings, and config files whose values are flags."""

import argparse
import re
from pathlib import Path

import pytest

from fourdc_jax.train.command_line import (
    CONFIGS,
    at_least,
    find_file,
    load_config,
    output_file,
    parse,
    positive,
)

CONFIG = """
from ml_collections import ConfigDict
def get_config(arg=""):
    if arg not in ("", "demo"):
        raise ValueError(f"config takes no argument or 'demo', got {arg!r}")
    return ConfigDict({"steps": 5, "shown": True, "names": ("a",),
                       "init": {"source": "", "new": ""},
                       "data": {"scans": "x", "rate": 0.5}}).lock()
"""


def add_flags(parser):
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--max-rows", type=at_least(1))


@pytest.fixture
def read(tmp_path):
    """Reads a command line that names a config of `tmp_path`."""
    (tmp_path / "config.py").write_text(CONFIG)

    def parsed(*arguments, config="config.py"):
        return parse([f"--config={tmp_path / config}", *arguments], "Doc.", add_flags, config="")

    return parsed


def test_a_right_command_line(read):
    flags = ["--config.data.rate=1", "--workdir=w", "--config.names=('b', 'c')"]
    flags += ["--config.init_new", "x", "--noconfig.shown", "--max_rows", "7"]
    args = read(*flags, config="config.py:demo")
    config = args.config
    assert (args.workdir, args.max_rows, config.data.rate) == ("w", 7, 1.0)
    assert (config.names, config.shown, config.steps) == (("b", "c"), False, 5)
    assert config.init.to_dict() == {"source": "", "new": "x"}
    assert config.is_locked


def test_a_config_file_from_before_is_read_under_todays_names(tmp_path):
    (tmp_path / "mine.py").write_text("""
from ml_collections import ConfigDict
def get_config():
    return ConfigDict({"init": "", "init_new": ("a",), "optimizer": {"momentum": 0.9}})
""")
    words = [f"--config={tmp_path}/mine.py", "--workdir=w", "--config.init=runs/x"]
    config = parse(words, "Doc.", add_flags, config="").config
    assert config.init.to_dict() == {"source": "runs/x", "new": ("a",)}
    assert config.optimizer.kind == "sgd"
    assert config.is_locked


@pytest.mark.parametrize(
    ("flags", "config", "sentence"),
    [
        (
            ["--config.data.scnas=y"],
            "config.py",
            "--config.data.scnas: the config has no key 'scnas'; did you mean 'scans'?",
        ),
        (["--config.zzz=y"], "config.py", "--config.zzz: the config has no key 'zzz'"),
        (["--config.steps.x=y"], "config.py", "--config.steps.x: the config has no such key"),
        (
            ["--config.steps=many"],
            "config.py",
            "--config.steps=many: invalid literal for int() with base 10: 'many'",
        ),
        (["--config.steps"], "config.py", "Missing value for flag --config.steps"),
        ([], "config.py:dmo", "config takes no argument or 'demo', got 'dmo'"),
        (["--wrokdir=v"], "config.py", "there is no flag --wrokdir; did you mean --workdir?"),
        (["--zzz"], "config.py", "there is no flag --zzz; --help lists them"),
        (["--max-rows=0"], "config.py", "--max-rows: 0 is too small, at least 1 is needed"),
        (["--max-rows=x"], "config.py", "--max-rows: invalid integer value: 'x'"),
        (["v"], "config.py", "unexpected argument 'v'; config values read --config.key=value"),
        (
            ["--config.steps=6", "v"],
            "config.py",
            "unexpected argument 'v'; config values read --config.key=value",
        ),
    ],
)
def test_a_wrong_command_line_is_told_in_a_sentence(read, flags, config, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        read("--workdir=w", *flags, config=config)


def test_a_flag_that_is_missing_is_told(read):
    with pytest.raises(ValueError, match=r"^the following arguments are required: --workdir$"):
        read("--config.steps=6")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def get_config(:", "line 1: invalid syntax"),
        ("\nimport nothing_of_that_name", "line 2: ModuleNotFoundError: No module named"),
        ("\n\ndef get_config():\n    return zzz", "line 4: NameError: name 'zzz' is not defined"),
        ("def get_config():\n    return {}", "returns a dict, no ConfigDict"),
        ("config = {}", r"has no function get_config\(argument\)"),
    ],
)
def test_a_broken_config_is_told_with_its_line(tmp_path, text, sentence):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}.* ?{sentence}"):
        load_config(str(path))


@pytest.mark.parametrize("name", ["configs/pretrain.py", "pretrain", "pretrain.py"])
def test_configs_of_the_package_are_found_where_there_is_no_such_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert find_file(name, CONFIGS) == CONFIGS / "pretrain.py"
    assert load_config(f"{name}:demo").total_steps < load_config(name).total_steps
    own = tmp_path / name
    own.parent.mkdir(exist_ok=True)
    own.write_text(CONFIG)
    assert find_file(name, CONFIGS) == Path(name)


def test_a_file_of_another_kind_is_no_config(tmp_path):
    (tmp_path / "config.json").touch()
    with pytest.raises(ValueError, match=r"config.json is no Python file: its name must end in"):
        load_config(str(tmp_path / "config.json"))


@pytest.mark.parametrize("name", ["elsewhere/pretrain.py", "nothing", "configs", "pretrain.txt"])
def test_other_names_are_no_configs_of_the_package(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    sentence = f"there is no file {name}; configs of this package: pretrain, segmentation"
    with pytest.raises(FileNotFoundError, match=sentence):
        load_config(name)


def test_what_follows_two_dashes_is_kept():
    args = parse(["--workdir", "w", "--", "--config.a=1", "b"], "Doc.", add_flags, extra=True)
    assert args.extra == ["--config.a=1", "b"]
    assert parse(["--workdir=w"], "Doc.", add_flags, extra=True).extra == []


def test_types_of_flags(tmp_path):
    assert positive("0.5") == 0.5
    for text in ("0", "-1", "nan"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"{text} is not above 0"):
            positive(text)
    assert output_file(str(tmp_path / "x.json")) == tmp_path / "x.json"
    with pytest.raises(argparse.ArgumentTypeError, match="is a folder: name a file"):
        output_file(str(tmp_path))
