"""The map kernels compiled for A100 and Hopper on a host without a GPU."""

import os
import re
import subprocess

import jax
import jax.numpy as jnp
import pytest

import kernels
from kernels.implementation import lowering_for

pytest.importorskip("jax_triton", reason="jax_triton cannot be imported", exc_type=ImportError)
from jax_triton import triton_lib
from triton.backends.nvidia.compiler import get_ptxas

PROGRAMS = {  # the number of launches of each
    "table": (2, lambda coords, n: kernels.build_hash_table(coords, n, implementation="triton")),
    "map": (5, lambda coords, n: kernels.build_kernel_map(coords, n, implementation="triton")),
    "stem": (
        5,
        lambda coords, n: kernels.build_kernel_map(
            coords, n, kernel_size=(5, 5, 5, 1)[: coords.shape[1] - 1], implementation="triton"
        ),
    ),
    "downsample": (
        8,
        lambda coords, n: kernels.downsample(
            coords, n, capacity=len(coords) // 2, implementation="triton"
        ),
    ),
}


@pytest.fixture
def compiled(monkeypatch):
    """(name, PTX) of the kernels compiled in a test."""
    results = []
    compile_kernel = triton_lib.compile_ttir_inplace

    def keep(*args, **kwargs):
        result = compile_kernel(*args, **kwargs)
        results.append((result.name, result.binary))
        return result

    monkeypatch.setattr(triton_lib, "compile_ttir_inplace", keep)
    monkeypatch.setattr(triton_lib, "_COMPILED_KERNEL_CACHE", {}, raising=False)  # 0.3
    return results


@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("dimension", [3, 4])
@pytest.mark.parametrize("program", PROGRAMS)
def test_map_kernels_compile_without_spills(compiled, program, dimension, architecture, tmp_path):
    launches, build = PROGRAMS[program]
    coords = jax.ShapeDtypeStruct((100_000, 1 + dimension), jnp.int32)
    with lowering_for(architecture):
        fresh = jax.jit(lambda *args: build(*args))  # traces are cached across architectures
        traced = fresh.trace(coords, jax.ShapeDtypeStruct((), jnp.int32))
        lowered = traced.lower(lowering_platforms=("cuda",))
    assert len(re.findall(r"custom_call @triton_kernel_call", lowered.as_text())) == launches
    assert 0 < len(compiled) <= launches
    for name, ptx in compiled:
        target = re.search(r"\.target (sm_\w+)", ptx).group(1)
        assert target.startswith(f"sm_{architecture}")
        path = tmp_path / f"{name}.ptx"
        path.write_text(ptx)
        report = subprocess.run(
            [get_ptxas(architecture).path, f"-arch={target}", "-v", path, "-o", os.devnull],
            capture_output=True, text=True, check=True,
        ).stderr  # fmt: skip
        assert "0 bytes spill stores, 0 bytes spill loads" in report, f"{name}: {report}"
