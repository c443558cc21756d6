"""Speed of fine-tuning for semantic segmentation: the loader alone, and training steps alone.

    python experiments/bench_finetune.py --config configs/segmentation.py
        [--config.batch_size=8] [--config.data.num_workers=8] [--rounds 10] [--output bench.json]

Everything is as the config says: the scenes (procedural rooms unless it names others), their
augmentation, the network, the devices. The loader makes batches that nobody computes on; then
training steps run over and over on the first few of them. Training itself takes the longer of the
two times a step.

    samples/s   scenes a second: of the loader, and of the steps
    compile     seconds until the step is compiled; a cache on disk is not used
    step        seconds of an optimiser step, batch transfer included, median over rounds
    voxels      of a batch, mean, and the rows that are computed for them
    memory      most in use at a time: of the first GPU, or of the process on a CPU
"""

import itertools
import json
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import app, flags
from benchmarks.timing import peak_memory_gib, time_interleaved
from ml_collections import ConfigDict, config_flags

from fourdc_jax.tasks.segmentation.task import create_task
from fourdc_jax.train import loop, parallel
from fourdc_jax.train.state import make_state_initializer
from fourdc_jax.train.step import make_train_step
from fourdc_jax.train.task import Batch, Task

CONFIG = config_flags.DEFINE_config_file("config", "configs/segmentation.py", lock_config=True)
BATCHES = flags.DEFINE_integer("batches", 8, "batches the loader is timed on", lower_bound=1)
ROUNDS = flags.DEFINE_integer("rounds", 10, "timed steps", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", None, "JSON file of all numbers")

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


def main(_: list[str]) -> None:
    config = CONFIG.value
    device = jax.devices()[0].device_kind
    with tempfile.TemporaryDirectory() as folder:
        task = create_task(config, Path(folder))
    loaded = time_loader(task, BATCHES.value)
    compile_seconds, step_seconds = time_steps(task, config, loaded.batches, ROUNDS.value)
    rows = [batch["num_rows"].sum() for batch in loaded.batches]
    results = {
        "device": device,
        "devices": jax.device_count(),
        "jax": jax.__version__,
        "batch_size": task.batch_size,
        "voxels": float(np.mean(rows)),
        "rows": int(np.prod(loaded.batches[0]["coords"].shape[:-1])),
        "first_batch_seconds": loaded.first_seconds,
        "loader_samples_per_second": task.batch_size / loaded.seconds,
        "compile_seconds": compile_seconds,
        "step_seconds": step_seconds,
        "step_samples_per_second": task.batch_size / step_seconds,
        "memory_gib": peak_memory_gib(),
    }
    print(describe(results, task.unit, config.data.num_workers))
    if OUTPUT.value:
        with open(OUTPUT.value, "w") as file:
            json.dump(results, file, indent=1)


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
    schedule, optimizer = loop.make_optimization(config)
    step = parallel.parallelize(make_train_step(task, optimizer, schedule, parallel.AXIS))
    initialize = jax.jit(make_state_initializer(task, optimizer, config.seed))
    micro_batch = jax.tree.map(lambda leaf: leaf[0, 0], batches[0])
    state = parallel.replicate(initialize(micro_batch))
    stop = parallel.on_every_device(False)
    start = time.perf_counter()
    compiled = step.lower(state, batches[0], stop).compile()
    compile_seconds = time.perf_counter() - start
    newest, turns = [state], itertools.cycle(batches)

    def run(repeats: int) -> None:
        for _ in range(repeats):
            newest[0], _ = compiled(newest[0], next(turns), stop)
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


if __name__ == "__main__":
    app.run(main)
