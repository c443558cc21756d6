"""What a run leaves for prediction, and which record another must not replace."""

import dataclasses
import json

import pytest
from fixtures.toy_training import toy_config, toy_task

from fourdc_jax.train.loop import train
from fourdc_jax.train.records import read_record

pytestmark = pytest.mark.usefixtures("compiled_once")

RECORD = {"classes": {"names": ("a", "b"), "colors": ((1, 2, 3),)}, "rows": (5, 3)}


def run(workdir, record, free=(), total_steps=2):
    config = toy_config(total_steps=total_steps)
    train(toy_task(config, record=record, record_free=free), config, workdir)


def test_the_record_is_there_from_the_start(tmp_path):
    """Also where the run fails: it can be looked at while it trains."""

    def crash(index):
        if index == 2:
            raise OSError("gone")

    config = toy_config()
    task = toy_task(config, on_batch=crash)
    with pytest.raises(OSError, match="gone"):
        train(dataclasses.replace(task, record=RECORD), config, tmp_path)
    assert read_record(tmp_path, "toy") == json.loads(json.dumps(RECORD))
    assert (tmp_path / "toy.json").is_file()


def test_a_task_without_a_record_leaves_none(tmp_path):
    run(tmp_path, None)
    assert not (tmp_path / "toy.json").exists()
    with pytest.raises(FileNotFoundError, match=r"has no toy\.json: name the workdir of a run of"):
        read_record(tmp_path, "toy")


def test_a_resumed_run_keeps_its_record_but_for_what_is_free(tmp_path):
    run(tmp_path, RECORD)
    run(tmp_path, RECORD, total_steps=3)
    other = {**RECORD, "rows": (7, 4)}
    run(tmp_path, other, free=("rows",), total_steps=4)
    assert read_record(tmp_path, "toy")["rows"] == [7, 4]
    changed = {"classes": {**RECORD["classes"], "names": ("a", "c")}, "more": 1, "rows": (7, 4)}
    with pytest.raises(ValueError, match=r"toy\.json differs: ") as info:
        run(tmp_path, changed, free=("rows",), total_steps=5)
    assert "classes.names (was ['a', 'b'], is ['a', 'c']), more (was 'absent', is 1)." in str(
        info.value
    )
    assert read_record(tmp_path, "toy")["rows"] == [7, 4]


def test_a_run_from_before_there_were_records_gets_one(tmp_path):
    run(tmp_path, None)
    run(tmp_path, RECORD, total_steps=3)
    assert read_record(tmp_path, "toy")["rows"] == [5, 3]


def test_a_workdir_without_checkpoints_takes_any_record(tmp_path):
    (tmp_path / "toy.json").write_text('{"rows": [1]}')
    run(tmp_path, RECORD)
    assert read_record(tmp_path, "toy")["rows"] == [5, 3]


def test_the_source_is_asked_for_only_where_a_run_starts(tmp_path):
    seen = []

    def check(config, name):
        seen.append((config["seed"], name))

    run(tmp_path / "source", None)
    source = str(tmp_path / "source")
    config = toy_config(**{"init.source": source, "total_steps": 1})
    task = toy_task(config, check_source=check)
    train(task, config, tmp_path / "run")
    train(task, config, tmp_path / "run")
    step = toy_config(**{"init.source": f"{source}/checkpoints/2", "total_steps": 1})
    train(task, step, tmp_path / "other")
    assert seen == [(3, source), (3, f"{source}/checkpoints/2")]


def test_a_refused_source_stops_before_anything_compiles(tmp_path):
    def refuse(config, name):
        raise ValueError(f"{name} has another network")

    run(tmp_path / "source", None)
    config = toy_config(**{"init.source": str(tmp_path / "source")})
    with pytest.raises(ValueError, match="source has another network"):
        train(toy_task(config, check_source=refuse, init=pytest.fail), config, tmp_path / "run")
