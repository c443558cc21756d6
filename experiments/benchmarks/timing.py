"""Timing for the benchmarks: several calls in turns, so that noise meets all of them alike.

A call is compiled into a program that runs it on one set of inputs after another. On a GPU there
are so many sets that their features do not stay in the L2 cache from one use to the next (the map
is the same for all, as in a network), and an optimisation barrier makes every use wait for the one
before. A round dispatches the program again and again without waiting in between, for at least
`LEAST_SECONDS` on a GPU and once on a CPU, and then waits once. The median over rounds counts,
after a warm-up. Inputs are random numbers, never zeros.
"""

import math
import resource
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

Key = TypeVar("Key", bound=Hashable)
Run = Callable[[int], None]  # runs something that many times and waits for the last

LEAST_SECONDS = 0.05  # of a round on a GPU
MOST_REPEATS = 1000
CACHE_BYTES = 256 * 2**20  # several times the L2 cache of the largest GPU
MOST_SETS = 16


class Program(NamedTuple):
    """A call that is ready to be timed.

    Attributes:
      run: runs the program that many times.
      calls: of the function in one program.
      compile_seconds: that compilation took.
      mebibytes: arguments, results and temporary buffers.
      text: of the compiled program.
    """

    run: Run
    calls: int
    compile_seconds: float
    mebibytes: float
    text: str


def on_gpu() -> bool:
    return jax.default_backend() == "gpu"


def number_of_sets(num_bytes: int) -> int:
    """Sets of inputs, each of so many bytes, that a program goes through in turns."""
    return min(MOST_SETS, max(2, -(-CACHE_BYTES // num_bytes))) if on_gpu() else 1


def compile_calls(function: Callable[..., Any], argument_sets: Sequence[tuple]) -> Program:
    """`function(*arguments)` for every set of arguments, one after another."""

    def one_after_another(argument_sets):
        results = []
        for arguments in argument_sets:
            if results:
                arguments, results[-1] = lax.optimization_barrier((arguments, results[-1]))
            results.append(function(*arguments))
        return results

    compiled, seconds = _compile(jax.jit(one_after_another), argument_sets)

    def run(repeats: int) -> None:
        for _ in range(repeats):
            results = compiled(argument_sets)
        jax.block_until_ready(results)

    return _program(run, len(argument_sets), compiled, seconds)


def compile_step(function: Callable[..., Any], state: Any, *arguments: Any) -> Program:
    """`state, result = function(state, *arguments)`, each on the state that the last one left."""
    compiled, seconds = _compile(jax.jit(function, donate_argnums=0), state, *arguments)
    newest = [jax.tree.map(jnp.copy, state)]  # the given one is not ours to donate

    def run(repeats: int) -> None:
        for _ in range(repeats):
            newest[0], _ = compiled(newest[0], *arguments)
        jax.block_until_ready(newest[0])

    return _program(run, 1, compiled, seconds)


def time_interleaved(
    runs: Mapping[Key, Run], rounds: int, *, least_seconds: float = LEAST_SECONDS
) -> dict[Key, float]:
    """Median wall seconds of one execution of each, over `rounds` rounds, after warming up."""
    repeats = {}
    for name, run in runs.items():
        run(1)
        repeats[name] = 1
        if on_gpu():
            run(3)
            once = _seconds(run, 3) / 3
            repeats[name] = min(MOST_REPEATS, math.ceil(least_seconds / once))
    seconds = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            seconds[name].append(_seconds(run, repeats[name]) / repeats[name])
    return {name: float(np.median(times)) for name, times in seconds.items()}


def time_programs(
    programs: Mapping[Key, Program], rounds: int, *, least_seconds: float = LEAST_SECONDS
) -> dict[Key, float]:
    """Median wall seconds of one call of each."""
    runs = {name: program.run for name, program in programs.items()}
    seconds = time_interleaved(runs, rounds, least_seconds=least_seconds)
    return {name: seconds[name] / program.calls for name, program in programs.items()}


def matmul_program(dtype: DTypeLike) -> tuple[Program, float]:
    """A square matrix product, the machine's own yardstick, and its operations.

    The products of float32 matrices are exact, as the convolutions' are.
    """
    size = 8192 if on_gpu() else 2048
    precision = lax.Precision.HIGHEST if jnp.dtype(dtype) == jnp.float32 else None
    keys = jax.random.split(jax.random.key(0), 2)
    matrices = tuple(jax.random.normal(key, (size, size), dtype) for key in keys)
    return compile_calls(lambda a, b: jnp.dot(a, b, precision=precision), [matrices]), 2.0 * size**3


def copy_program() -> tuple[Program, float]:
    """The negative of a large float32 array, and the bytes that are read and written for it."""
    size = 2**28 if on_gpu() else 2**24
    values = jax.random.normal(jax.random.key(0), (size,), jnp.float32)
    return compile_calls(jnp.negative, [(values,)]), 8.0 * size


def peak_memory_gib() -> float:
    """Most memory in use at a time so far: of the GPU, or of this process on a CPU."""
    if on_gpu():
        return jax.local_devices()[0].memory_stats()["peak_bytes_in_use"] / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _compile(function: Any, *arguments: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    compiled = function.lower(*arguments).compile()
    return compiled, time.perf_counter() - start


def _program(run: Run, calls: int, compiled: Any, seconds: float) -> Program:
    memory = compiled.memory_analysis()
    sizes = (memory.temp_size_in_bytes, memory.argument_size_in_bytes, memory.output_size_in_bytes)
    mebibytes = (sum(sizes) - memory.alias_size_in_bytes) / 2**20
    return Program(run, calls, seconds, mebibytes, compiled.as_text())


def _seconds(run: Run, repeats: int) -> float:
    start = time.perf_counter()
    run(repeats)
    return time.perf_counter() - start
