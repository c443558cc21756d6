"""The command that times fine-tuning, at sizes that say nothing."""

import json

import pytest
from fixtures.commands import run_command


def test_loader_and_steps_are_timed_and_written(tmp_path):
    output = tmp_path / "bench.json"
    flags = ["--config=configs/segmentation.py:demo", "--batches=2", "--rounds=1"]
    flags += [f"--output={output}", "--config.batch_size=2", "--config.data.voxels.voxel=0.3"]
    flags += [
        "--config.data.train.scans=procedural:2",
        "--config.data.validation.scans=procedural:1",
    ]
    flags += ["--config.model.network_3d.planes=(4, 4, 4, 4, 4, 4, 4, 4)"]
    done = run_command("bench_finetune", *flags, XLA_FLAGS="")  # one device
    assert done.code == 0, done.err
    results = json.loads(output.read_text())
    assert results["batch_size"] == 2
    assert 0 < results["voxels"] <= results["rows"]
    times = ("first_batch_seconds", "compile_seconds", "step_seconds", "memory_gib")
    assert all(results[name] > 0 for name in times)
    assert results["step_samples_per_second"] == pytest.approx(2 / results["step_seconds"])
    assert f"loader     {results['loader_samples_per_second']:.2f} samples/s" in done.out
