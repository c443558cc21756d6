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

import argparse

import jax
import numpy as np
from benchmarks.finetune_times import describe, time_loader, time_steps
from benchmarks.flags import add_timing_flags, write_numbers
from benchmarks.timing import peak_memory_gib

from fourdc_jax.tasks.segmentation.task import create_task
from fourdc_jax.train import command
from fourdc_jax.train.command_line import at_least


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--batches", type=at_least(1), default=8, help="batches the loader is timed on")
    add_timing_flags(parser, rounds=10)


def main(args: argparse.Namespace) -> None:
    """Times the loader, then the steps."""
    config = args.config
    device = jax.devices()[0].device_kind
    task = create_task(config)
    loaded = time_loader(task, args.batches)
    compile_seconds, step_seconds = time_steps(task, config, loaded.batches, args.rounds)
    rows = [batch.grid.num_rows.sum() for batch in loaded.batches]
    results = {
        "device": device,
        "devices": jax.device_count(),
        "jax": jax.__version__,
        "batch_size": task.batch_size,
        "voxels": float(np.mean(rows)),
        "rows": int(np.prod(loaded.batches[0].grid.coords.shape[:-1])),
        "first_batch_seconds": loaded.first_seconds,
        "loader_samples_per_second": task.batch_size / loaded.seconds,
        "compile_seconds": compile_seconds,
        "step_seconds": step_seconds,
        "step_samples_per_second": task.batch_size / step_seconds,
        "memory_gib": peak_memory_gib(),
    }
    print(describe(results, task.unit, config.data.num_workers))
    write_numbers(args.output, results)


if __name__ == "__main__":
    command.run(main, __doc__, add_flags, config="configs/segmentation.py")
