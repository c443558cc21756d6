"""Timing for the benchmarks: several functions in turns, so that noise meets all of them alike."""

import resource
import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np


def time_interleaved(
    functions: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, float]:
    """Median wall seconds of each function over `rounds` rounds, after one warm-up call each."""
    for function in functions.values():
        jax.block_until_ready(function())
    seconds = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            jax.block_until_ready(function())
            seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(times)) for name, times in seconds.items()}


def compile_timed(function: Callable, *arguments) -> tuple[Callable[[], object], float, float]:
    """The compiled call with these arguments, its compile seconds and its peak buffer MiB."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()
    sizes = (memory.temp_size_in_bytes, memory.argument_size_in_bytes, memory.output_size_in_bytes)
    return lambda: compiled(*arguments), seconds, sum(sizes) / 2**20


def matmul_call(size: int = 2048) -> tuple[Callable[[], object], float]:
    """A square float32 matrix product, the machine's own yardstick, and its GFLOP."""
    matrix = jnp.ones((size, size), jnp.float32)
    product = jax.jit(jnp.dot)
    return lambda: product(matrix, matrix), 2 * size**3 / 1e9


def peak_memory_gib() -> float:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
