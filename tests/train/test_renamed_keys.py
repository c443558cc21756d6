"""Runs and command lines from before a key had its name are read as they were meant."""

import json
from pathlib import Path

import pytest
from fixtures.paths import ROOT
from fourdc_jax.configs import pretrain, segmentation

from fourdc_jax.train.renamed_keys import translate_config, translate_flags
from fourdc_jax.train.run_config import check_resumable, flatten, plain, read_config, write_config

OLD = ROOT / "tests/fixtures/old_configs"  # config.json of the demos, as they were once written
TODAY = {"pretrain": pretrain.get_config, "segmentation": segmentation.get_config}


def read_old(workdir: Path, name: str) -> dict:
    """The config of an old run, read from its workdir."""
    (workdir / "config.json").write_text((OLD / f"{name}.json").read_text())
    return read_config(workdir)


@pytest.mark.parametrize("name", TODAY)
def test_an_old_config_has_exactly_todays_keys(name, tmp_path):
    """A key that came, went or moved since then needs its line in renamed_keys."""
    old, today = flatten(read_old(tmp_path, name)), flatten(plain(TODAY[name]("demo")))
    assert old.keys() == today.keys()


def test_an_old_run_keeps_what_it_ran_with(tmp_path):
    before = json.loads((OLD / "segmentation.json").read_text())
    values = read_old(tmp_path, "segmentation")
    assert values["task"] == "segmentation"
    assert values["init"] == {
        "source": "runs/demo",
        "skip": before["init_skip"],
        "new": ["classifier/.*"],
        "rename": [],
    }
    assert values["optimizer"] == before["optimizer"] | {
        "kind": "sgd",
        "b1": 0.9,
        "b2": 0.999,
        "epsilon": 1e-8,
    }
    assert values["eval"] == before["eval"]
    assert read_old(tmp_path, "pretrain")["task"] == "pretrain"


@pytest.mark.parametrize("name", TODAY)
def test_an_old_run_is_resumed_and_differences_are_told_under_todays_names(name, tmp_path):
    config = TODAY[name]("demo").unlock()
    values = flatten(read_old(tmp_path, name))
    config.update_from_flattened_dict({k: as_tuple(v) for k, v in values.items()})
    check_resumable(tmp_path, config)
    config.init.source = "elsewhere"
    with pytest.raises(ValueError, match=r"init\.source \(was '.*', is 'elsewhere'\)\. Restore"):
        check_resumable(tmp_path, config)


def as_tuple(value):
    """A value of config.json as a config has it."""
    return tuple(map(as_tuple, value)) if isinstance(value, list) else value


@pytest.mark.parametrize("name", TODAY)
def test_todays_config_stays_as_it_is(name, tmp_path):
    config = TODAY[name]("demo")
    write_config(tmp_path, config)
    assert read_config(tmp_path) == plain(config)


def test_what_is_no_run_gets_no_values_of_one():
    values = {"model": {"in_channels": 3, "network_3d": {"planes": []}}, "empty": {}}
    assert translate_config(values) == values


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--config.init=a", "--config.init.source=a"),
        ("--config.init", "--config.init.source"),
        ("-config.init_skip=('b',)", "-config.init.skip=('b',)"),
        ("--config.init_new=--config.init=c", "--config.init.new=--config.init=c"),
        ("--config.init.source=a", "--config.init.source=a"),
        ("--config.initial=1", "--config.initial=1"),
        ("--init=1", "--init=1"),
        ("config.init", "config.init"),
    ],
)
def test_flags_are_read_under_todays_names(old, new):
    assert translate_flags([old, "x"]) == [new, "x"]


def test_given_rows_of_a_sequence_become_those_of_a_micro_batch():
    """Two devices: a batch of 8 in 2 micro-batches has 2 sequences in each."""
    capacity = {"rows_3d": [400, 100], "rows_4d": []}
    old = {"sequence": {}, "data": {"capacity": capacity}, "batch_size": 8, "accumulate": 2}
    today = translate_config(old)
    assert today["data"]["capacity"] == {"rows_3d": [800, 200], "rows_4d": []}
    assert translate_config(today)["data"]["capacity"] == today["data"]["capacity"]
