"""The command that times fine-tuning, at sizes that say nothing."""

import json
import os
import subprocess
import sys

import pytest
from fixtures.paths import ROOT


def test_loader_and_steps_are_timed_and_written(tmp_path):
    output = tmp_path / "bench.json"
    command = [sys.executable, "experiments/bench_finetune.py", "--batches=2", "--rounds=1"]
    command += ["--config=configs/segmentation.py:demo", f"--output={output}"]
    command += ["--config.batch_size=2", "--config.data.train.scans=procedural:2"]
    command += ["--config.data.validation.scans=procedural:1", "--config.data.voxels.voxel=0.3"]
    command += ["--config.model.network_3d.planes=(4, 4, 4, 4, 4, 4, 4, 4)"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}  # one device
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=500, env=environment
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(output.read_text())
    assert results["batch_size"] == 2
    assert 0 < results["voxels"] <= results["rows"]
    times = ("first_batch_seconds", "compile_seconds", "step_seconds", "memory_gib")
    assert all(results[name] > 0 for name in times)
    assert results["step_samples_per_second"] == pytest.approx(2 / results["step_seconds"])
    assert f"loader     {results['loader_samples_per_second']:.2f} samples/s" in done.stdout
