"""Evaluation during training: when, what is written, and which checkpoints stay."""

import os
import signal

import pytest
from fixtures.toy_training import toy_config, toy_task

from fourdc_jax.train.checkpoints import find_step
from fourdc_jax.train.loop import train
from fourdc_jax.train.task import Evaluation
from fourdc_jax.train.writers import read_history

pytestmark = pytest.mark.usefixtures("compiled_once")

SCORES = (0.2, 0.7, 0.4, 0.5)


def run(workdir, every=2, scores=SCORES, on_batch=None, **changes):
    """Eight steps with the given scores in turn; the number of evaluations."""
    seen = []

    def evaluate(variables):
        assert set(variables) == {"params", "batch_stats"}
        seen.append(scores[len(seen)])
        return {"score": seen[-1]}

    config = toy_config(**{"checkpoint.best_metric": "score", "checkpoint.keep_last": 1, **changes})
    task = toy_task(
        config, evaluations=(Evaluation(every, ("score",), evaluate),), on_batch=on_batch
    )
    train(task, config, workdir)
    return len(seen)


def steps_on_disk(workdir):
    return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())


def test_it_is_written_and_the_highest_score_is_kept(tmp_path):
    assert run(tmp_path, **{"checkpoint.every": 100}) == 4
    measured = {line["step"]: line["score"] for line in read_history(tmp_path) if "score" in line}
    assert measured == dict(zip((2, 4, 6, 8), SCORES))
    assert steps_on_disk(tmp_path) == [4, 8]
    assert (find_step(tmp_path, "score"), find_step(tmp_path)) == (4, 8)


def test_a_resumed_run_still_knows_the_best(tmp_path):
    changes = {"checkpoint.every": 100, "optimizer.schedule": "constant"}
    run(tmp_path, **changes)
    run(tmp_path, scores=(0.6, 0.1), total_steps=12, **changes)
    assert steps_on_disk(tmp_path) == [4, 12]
    run(tmp_path, scores=(0.8, 0.1), total_steps=16, **changes)
    assert steps_on_disk(tmp_path) == [14, 16]


def test_the_last_step_is_evaluated_and_other_checkpoints_are_not_the_best(tmp_path):
    assert run(tmp_path, every=5, **{"checkpoint.every": 1}) == 2
    assert find_step(tmp_path, "score") == 8


def test_a_run_that_is_stopped_just_then_saves_at_once(tmp_path):
    def terminate(index):
        if index == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    assert run(tmp_path, on_batch=terminate) == 1
    assert run(tmp_path, scores=SCORES[2:]) == 2
    measured = [line["step"] for line in read_history(tmp_path) if "score" in line]
    assert measured == [2, 6, 8]


def test_a_run_without_the_metric_has_no_best(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        find_step(tmp_path, "score")
    config = toy_config()
    train(toy_task(config), config, tmp_path)
    with pytest.raises(ValueError, match=r"no checkpoint of .* has a 'score'"):
        find_step(tmp_path, "score")
