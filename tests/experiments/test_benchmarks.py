"""The commands that measure, at sizes that say nothing."""

import json
import os
import subprocess
import sys

import pytest
from fixtures.paths import ROOT


def run(script, *arguments):
    command = [sys.executable, f"experiments/{script}", *arguments]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment
    )


def test_single_layers_are_timed_and_written(tmp_path):
    output = tmp_path / "bench.json"
    done = run(
        "bench_sparse_conv.py", "--rows=512", "--voxel=0.05", "--rounds=1", "--network=none",
        "--channels=8,16", f"--output={output}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 100
    results = {entry["name"]: entry for entry in json.loads(output.read_text())["results"]}
    layer = results["3^3 8>16 forward"]
    assert layer["operations"] == 2 * layer["pairs"][0] * 8 * 16
    assert {"maps, 5 levels", "5^3 3>32 fwd + bwd", "strided 32>32 forward"} <= results.keys()
    assert all(entry["seconds"] > 0 for entry in results.values())


def test_the_tuner_without_a_gpu_is_one_clear_sentence():
    pytest.importorskip("triton")
    done = run("tune_kernels.py")
    assert done.returncode != 0
    assert "it needs a CUDA GPU, and JAX found none." in done.stderr
