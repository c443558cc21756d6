"""Kill a run at any moment: the same command ends as if it had never been killed."""

import random
import time

import jax
import numpy as np
import pytest
from fixtures.processes import checkpoint_steps, kill_when, launch
from fixtures.toy_training import toy_config, toy_task

from fourdc_jax.train.checkpoints import Checkpoints, Retention
from fourdc_jax.train.loop import train
from fourdc_jax.train.writers import read_history

SCRIPT = "toy_training.py"
STEPS = 30


def final_state(workdir, like):
    with Checkpoints(workdir, Retention(2, 0, ""), asynchronous=False) as checkpoints:
        assert checkpoints.latest_step() == STEPS
        return checkpoints.restore_state(STEPS, like)


def check_equals_uninterrupted(workdir, tmp_path):
    config = toy_config(**{"total_steps": STEPS, "checkpoint.every": 3})
    whole = train(toy_task(config), config, tmp_path / "whole")
    resumed = final_state(workdir, whole)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(read_history(tmp_path / "whole"), read_history(workdir), strict=True):
        assert a | {"samples_per_second": 0} == b | {"samples_per_second": 0}


def test_sigkill_while_a_checkpoint_is_written(tmp_path):
    workdir = tmp_path / "killed"
    process = launch(SCRIPT, workdir, STEPS, 0.02)
    kill_when(process, lambda: any(step >= 9 for step in checkpoint_steps(workdir, "*tmp*")))
    assert checkpoint_steps(workdir, "[0-9]*")
    again = launch(SCRIPT, workdir, STEPS, 0)
    _, stderr = again.communicate(timeout=120)
    assert again.returncode == 0, stderr
    assert "Resuming" in stderr
    check_equals_uninterrupted(workdir, tmp_path)


@pytest.mark.slow
def test_sigkill_at_random_moments(tmp_path):
    workdir = tmp_path / "killed"
    rng = random.Random(0)
    for target in (1, 4, 8, 13, 19, 26):
        process = launch(SCRIPT, workdir, STEPS, 0.02)
        kill_when(process, lambda t=target: len(read_history(workdir)) >= t)
        time.sleep(rng.random() / 50)
    again = launch(SCRIPT, workdir, STEPS, 0)
    _, stderr = again.communicate(timeout=120)
    assert again.returncode == 0, stderr
    check_equals_uninterrupted(workdir, tmp_path)
