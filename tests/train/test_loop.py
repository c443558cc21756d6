"""The training loop on a toy: resuming, stopping, and what it leaves on disk."""

import json
import os
import signal

import jax
import numpy as np
import pytest
from fixtures.states import assert_same_state, without_speed
from fixtures.toy_training import loss, toy_config, toy_task

from fourdc_jax.train.health import TrainingStopped
from fourdc_jax.train.loop import train
from fourdc_jax.train.task import Alarm
from fourdc_jax.train.writers import read_history

pytestmark = pytest.mark.usefixtures("compiled_once")


def steps_on_disk(workdir):
    return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())


@pytest.fixture(scope="module")
def finished(tmp_path_factory, compiled_once):
    """An uninterrupted run of eight steps: (workdir, final state)."""
    workdir = tmp_path_factory.mktemp("finished")
    config = toy_config()
    return workdir, jax.device_get(train(toy_task(config), config, workdir))


def test_training_learns(tmp_path):
    config = toy_config(
        **{
            "batch_size": 64,
            "total_steps": 60,
            "checkpoint.every": 100,
            "optimizer.decay_rate": 1.0,
            "optimizer.learning_rate": 0.05,
        }
    )
    train(toy_task(config, weights={"fit": 1.0, "size": 0.0}), config, tmp_path)
    fit = [line["fit"] for line in read_history(tmp_path)]
    assert np.mean(fit[-10:]) < 0.3 * np.mean(fit[:5])


def test_the_step_is_compiled_once(tmp_path):
    config = toy_config(total_steps=4)
    traced = []

    def counting_loss(variables, batch, at):
        traced.append(at.axis_name)
        return loss(variables, batch, at)

    for total_steps in (4, 6):  # fresh and resumed
        traced.clear()
        config = toy_config(total_steps=total_steps)
        train(toy_task(config, loss=counting_loss), config, tmp_path)
        assert len(traced) == 1


def test_a_run_leaves_a_complete_record(finished):
    workdir, state = finished
    history = read_history(workdir)
    assert int(state.step) == 8
    assert [line["step"] for line in history] == list(range(1, 9))
    expected = {"step", "total", "fit", "size", "spread", "learning_rate", "gradient_norm"}
    assert set(history[0]) == expected | {"samples_per_second"}
    for line in history:
        np.testing.assert_allclose(line["total"], line["fit"] + 0.5 * line["size"], rtol=1e-6)
        np.testing.assert_allclose(line["learning_rate"], 0.1 * 0.5 ** ((line["step"] - 1) // 3))
    assert steps_on_disk(workdir) == [6, 8]
    assert json.loads((workdir / "config.json").read_text())["optimizer"]["momentum"] == 0.8
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary["step"] == 8
    assert summary["parameters"] == 3 * 4 + 4
    assert summary["values"]["fit"]["last"] == history[-1]["fit"]


@pytest.mark.parametrize("stop_at", [2, 5])
def test_sigterm_saves_and_the_same_call_ends_as_if_never_stopped(finished, tmp_path, stop_at):
    def terminate(index):
        if index == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    config = toy_config()
    handler = signal.getsignal(signal.SIGTERM)
    stopped = train(toy_task(config, on_batch=terminate), config, tmp_path)
    assert signal.getsignal(signal.SIGTERM) is handler
    assert int(stopped.step) < 8
    assert steps_on_disk(tmp_path)[-1] == int(stopped.step)
    assert not (tmp_path / "summary.json").exists()

    workdir, state = finished
    assert_same_state(train(toy_task(config), config, tmp_path), state)
    assert without_speed(read_history(tmp_path)) == without_speed(read_history(workdir))


def test_a_crash_loses_only_what_was_not_saved(finished, tmp_path):
    def crash(index):
        if index == 6:
            raise OSError("the data is gone")

    config = toy_config()
    with pytest.raises(OSError, match="the data is gone"):
        train(toy_task(config, on_batch=crash), config, tmp_path)
    workdir, state = finished
    assert_same_state(train(toy_task(config), config, tmp_path), state)
    assert without_speed(read_history(tmp_path)) == without_speed(read_history(workdir))


def test_a_finished_run_is_extended_by_more_steps(finished, tmp_path):
    short = toy_config(total_steps=5)
    train(toy_task(short), short, tmp_path)
    config = toy_config()
    assert_same_state(train(toy_task(config), config, tmp_path), finished[1])


def test_a_run_of_an_earlier_version_is_continued(finished, tmp_path):
    """Its config.json has other keys; the one that is written then has today's."""
    short = toy_config(total_steps=5)
    train(toy_task(short), short, tmp_path)
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    node = values.pop("init")
    values |= {"init": node.pop("source")} | {f"init_{key}": v for key, v in node.items()}
    for key in ("kind", "b1", "b2", "epsilon"):
        del values["optimizer"][key]
    path.write_text(json.dumps(values))
    config = toy_config()
    assert_same_state(train(toy_task(config), config, tmp_path), finished[1])
    assert path.read_text() == (finished[0] / "config.json").read_text()


def test_running_again_after_the_end_only_reports_again(finished, tmp_path):
    config = toy_config(total_steps=2)
    seen = []

    def report(workdir, state, history):
        seen.append((workdir, int(state.step), len(history)))

    first = train(toy_task(config, report=report), config, tmp_path)
    again = train(toy_task(config, report=report), config, tmp_path)
    assert_same_state(first, again)
    assert seen == [(tmp_path, 2, 2)] * 2


@pytest.mark.parametrize("bad_batch", [3, 4, 5])
def test_nan_stops_names_step_and_term_and_keeps_the_last_good_checkpoint(tmp_path, bad_batch):
    config = toy_config()
    with pytest.raises(TrainingStopped, match=rf"step {bad_batch}: loss term 'fit' is nan") as info:
        train(toy_task(config, spoil={bad_batch: "nan"}), config, tmp_path)
    good = (bad_batch - 1) // 2 * 2
    assert f"Kept: checkpoint {good}" in str(info.value)
    assert steps_on_disk(tmp_path)[-1] == good
    assert [line["step"] for line in read_history(tmp_path)] == list(range(1, bad_batch))


def test_an_exceeded_limit_stops_with_both_numbers_and_the_hint(tmp_path):
    config = toy_config()
    with pytest.raises(
        TrainingStopped,
        match=r"step 2: large_values needed 1 but has 0\. Set config\.toy\.room to more\.",
    ):
        train(toy_task(config, spoil={2: "crowded"}), config, tmp_path)
    assert steps_on_disk(tmp_path) == []


def test_resuming_with_another_config_names_the_keys(finished):
    changes = {"optimizer.momentum": 0.9, "seed": 4, "log.every": 2, "total_steps": 9}
    config = toy_config(**changes)
    with pytest.raises(ValueError, match="keys would alter midway") as info:
        train(toy_task(config), config, finished[0])
    assert "optimizer.momentum (was 0.8, is 0.9), seed (was 3, is 4)." in str(info.value)
    assert "log" not in str(info.value)


def test_alarms_are_loud_and_counted(tmp_path, capsys):
    config = toy_config(total_steps=2)
    train(toy_task(config, alarms={"spread": Alarm(100.0, "all is near zero")}), config, tmp_path)
    stderr = capsys.readouterr().err
    assert stderr.count("below 100: all is near zero") == 2
    assert "WARNING: step 2: spread is" in stderr
    assert json.loads((tmp_path / "summary.json").read_text())["alarms"] == {"spread": 2}


def test_a_log_file_gets_plain_lines(tmp_path, capsys):
    config = toy_config(total_steps=3)
    train(toy_task(config), config, tmp_path)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    assert len(lines) == 3
    assert lines[2].startswith("step 3/3  total ")
    assert "fit " in lines[2]
    assert "samples/s" in lines[2]
    assert "0:00:00 left" in lines[2]


def test_another_runs_weights_start_this_one(finished, tmp_path, capsys):
    workdir, state = finished
    config = toy_config(
        **{
            "init.source": str(workdir),
            "init.skip": ("head/.*",),
            "total_steps": 1,
            "optimizer.learning_rate": 0.0,
        }
    )
    started = train(toy_task(config), config, tmp_path)
    np.testing.assert_array_equal(
        started.params["encoder"]["kernel"], state.params["encoder"]["kernel"]
    )
    np.testing.assert_array_equal(started.params["head"]["kernel"], np.full(4, 0.25))
    assert "loaded 2 arrays" in capsys.readouterr().err


def test_a_batch_of_the_wrong_layout_is_told_before_compilation(tmp_path):
    config = toy_config()
    task = toy_task(toy_config(accumulate=2))
    with pytest.raises(ValueError, match=r"\['weight'\] has shape \(2, 2, 2\)"):
        train(task, config, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint.every": 0}, r"config\.checkpoint\.every is 0"),
        ({"checkpoint.best_metric": "spraed"}, "best_metric is 'spraed'"),
        ({"optimizer.kind": "lion"}, "kind is 'lion'; it must be 'sgd' or 'adam'"),
        ({"optimizer.schedule": "cosine"}, "it must be 'constant', 'exponential'"),
        ({"init.source": "/nowhere"}, "/nowhere holds no checkpoint"),
    ],
)
def test_senseless_values_are_named(tmp_path, changes, message):
    config = toy_config(**changes)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train(toy_task(config), config, tmp_path)


def test_the_best_checkpoint_is_kept(tmp_path):
    changes = {"checkpoint.best_metric": "fit", "checkpoint.keep_last": 1, "checkpoint.every": 1}
    config = toy_config(**changes)
    train(toy_task(config), config, tmp_path)
    best = min(read_history(tmp_path), key=lambda line: line["fit"])["step"]
    assert steps_on_disk(tmp_path) == sorted({best, 8})
