"""The map kernels compiled for A100 and Hopper on a host without a GPU."""

import re

import jax
import jax.numpy as jnp
import pytest
from fourdc_jax.kernels.compiled import assemble, launched_kernels
from fourdc_jax.kernels.implementation import lowering_for

from fourdc_jax import kernels

pytest.importorskip("jax_triton", reason="jax_triton cannot be imported", exc_type=ImportError)

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


@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("dimension", [3, 4])
@pytest.mark.parametrize("program", PROGRAMS)
def test_map_kernels_compile_without_spills(program, dimension, architecture):
    launches, build = PROGRAMS[program]
    coords = jax.ShapeDtypeStruct((100_000, 1 + dimension), jnp.int32)
    with lowering_for(architecture):
        fresh = jax.jit(lambda *args: build(*args))  # traces are cached across architectures
        traced = fresh.trace(coords, jax.ShapeDtypeStruct((), jnp.int32))
        compiled = launched_kernels(traced.lower(lowering_platforms=("cuda",)))
    assert len(compiled) == launches
    for kernel in compiled:
        target = re.search(r"\.target (sm_\w+)", kernel.ptx).group(1)
        assert target.startswith(f"sm_{architecture}")
        assert assemble(kernel).spilled == 0, kernel.name
