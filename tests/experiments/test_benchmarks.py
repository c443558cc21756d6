"""The commands that measure, at sizes that say nothing."""

import json

import pytest
from fixtures.commands import run_command, run_here


def test_single_layers_are_timed_and_written(tmp_path):
    output = tmp_path / "bench.json"
    done = run_command(
        "bench_sparse_conv", "--rows=512", "--voxel=0.05", "--rounds=1", "--network=none",
        "--channels=8,16", f"--output={output}",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 100
    results = {entry["name"]: entry for entry in json.loads(output.read_text())["results"]}
    layer = results["3^3 8>16 forward"]
    assert layer["operations"] == 2 * layer["pairs"][0] * 8 * 16
    assert {"maps, 5 levels", "5^3 3>32 fwd + bwd", "strided 32>32 forward"} <= results.keys()
    assert all(entry["seconds"] > 0 for entry in results.values())


def test_the_tuner_without_a_gpu_is_one_clear_sentence():
    pytest.importorskip("triton")
    done = run_here("tune_kernels")
    assert done.code == 1
    assert "it needs a CUDA GPU, and JAX found none." in done.err


def test_samples_are_timed():
    flags = ["--config=pretrain:demo", "--config.data.scans=procedural:1", "--points=60000"]
    done = run_here("bench_data", *flags, "--config.data.shapes=procedural:4", "--num=2")
    assert done.code == 0, done.err
    head, *parts, rate = done.out.splitlines()
    assert head.startswith("capacity of a sample: ")
    assert [float(line.split()[-2]) > 0 for line in parts] == [True] * 3
    assert rate.endswith("sequences a second and core (mean of 2)")
