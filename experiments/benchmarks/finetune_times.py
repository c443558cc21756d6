"""Seconds that fine-tuning takes: of its loader, and of its training steps."""

import itertools
import time
from typing import Any, NamedTuple

import jax
from benchmarks.timing import time_interleaved
from ml_collections import ConfigDict

from fourdc_jax.train import parallel
from fourdc_jax.train.programs import program
from fourdc_jax.train.task import Batch, Task

KEPT = 4  # batches that the steps run on in turns


class Loaded(NamedTuple):
    """What the loader did.

    Attributes:
      batches: the first ones.
      first_seconds: until the first batch: processes start, scenes are read.
      seconds: a batch, after that.
    """

    batches: list[Batch]
    first_seconds: float
    seconds: float


def time_loader(task: Task, count: int) -> Loaded:
    """Makes `count` batches after the first one, which nobody computes on."""
    start = time.perf_counter()
    batches = task.batches(None)
    try:
        kept = [next(batches)]
        first_seconds = time.perf_counter() - start
        start = time.perf_counter()
        for _ in range(count):
            batch = next(batches)
            if len(kept) < KEPT:
                kept.append(batch)
        return Loaded(kept, first_seconds, (time.perf_counter() - start) / count)
    finally:
        batches.close()


def time_steps(
    task: Task, config: ConfigDict, batches: list[Batch], rounds: int
) -> tuple[float, float]:
    """Seconds to compile a training step from fresh weights, and the median seconds of one."""
    programs = program(task, config)
    micro_batch = jax.tree.map(lambda leaf: leaf[0, 0], batches[0])
    state = parallel.replicate(jax.jit(programs.initialize)(micro_batch))
    start = time.perf_counter()
    compiled = programs.compile(state, batches[0])
    compile_seconds = time.perf_counter() - start
    newest, turns = [state], itertools.cycle(batches)

    def run(repeats: int) -> None:
        for _ in range(repeats):
            newest[0], _ = compiled.step(newest[0], next(turns))
        jax.block_until_ready(newest[0])

    return compile_seconds, time_interleaved({"step": run}, rounds)["step"]


def describe(results: dict[str, Any], unit: str, num_workers: int) -> str:
    """The numbers for people, one a line."""
    workers = f"{num_workers} worker processes" if num_workers else "one thread"
    lines = [
        f"{results['device']}, {results['devices']} device(s), jax {results['jax']}",
        f"batch      {results['batch_size']} {unit}, {results['voxels']:,.0f} voxels in "
        f"{results['rows']:,} rows",
        f"loader     {results['loader_samples_per_second']:.2f} samples/s by {workers}; first "
        f"batch after {results['first_batch_seconds']:.1f} s",
        f"compile    {results['compile_seconds']:.1f} s",
        f"step       {results['step_seconds']:.3f} s, {results['step_samples_per_second']:.2f} "
        "samples/s",
        f"memory     {results['memory_gib']:.2f} GiB",
    ]
    return "\n".join(lines)
