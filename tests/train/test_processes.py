"""Two processes on one machine train as one process with two devices does."""

import os
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
from fixtures.paths import ROOT
from fixtures.toy_training import toy_config, toy_task

from fourdc_jax.train.checkpoints import load_variables
from fourdc_jax.train.loop import train
from fourdc_jax.train.writers import read_history

SCRIPT = ROOT / "tests/fixtures/toy_training.py"
STEPS = 24


def launch(workdir, pause):
    """Both processes, with one CPU device each."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2]), "XLA_FLAGS": ""}
    arguments = [sys.executable, str(SCRIPT), str(workdir), str(STEPS), str(pause), str(port)]
    return [
        subprocess.Popen([*arguments, str(i)], env=environment, stderr=subprocess.PIPE, text=True)
        for i in range(2)
    ]


def test_two_processes_stop_together_resume_and_equal_one(tmp_path):
    workdir = tmp_path / "two"
    first, second = launch(workdir, pause=0.05)
    deadline = time.monotonic() + 120
    while len(read_history(workdir)) < 3 and second.poll() is None:
        assert time.monotonic() < deadline, "the run did not start"
        time.sleep(0.01)
    second.send_signal(signal.SIGTERM)  # one of them: both must stop, at the same step
    for process in (first, second):
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
    stopped = len(read_history(workdir))
    assert 3 <= stopped < STEPS

    for process in launch(workdir, pause=0.0):
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
    history = read_history(workdir)
    assert [line["step"] for line in history] == list(range(1, STEPS + 1))

    config = toy_config(**{"total_steps": STEPS, "checkpoint.every": 3})
    state = train(toy_task(config), config, tmp_path / "one")
    for a, b in zip(
        jax.tree.leaves(state.variables), jax.tree.leaves(load_variables(workdir)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    for a, b in zip(read_history(tmp_path / "one"), history, strict=True):
        np.testing.assert_allclose(a["total"], b["total"], rtol=1e-5)
