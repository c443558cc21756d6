"""Measure how many training sequences a core makes a second.

    python experiments/bench_data.py --config configs/pretrain.py [--config.data.scans=<scans>]

Scans are brought to ScanNet's size (copies of a scan side by side, cut at --points) and prepared
into a cache; then whole samples are made from it, every time from the file: read, reduced to the
scene's voxels, floor map, trajectory, points of the frames, both voxel grids, tracks, and padding.
Times are CPU seconds of this process, medians over the samples.
"""

import os

# One core is what is measured; set before the libraries that read it.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import tempfile
from pathlib import Path

import numpy as np
from benchmarks.sample_times import measure, open_enlarged

from fourdc_jax.data.sequences.from_config import DataParams, choose_capacity, open_samples
from fourdc_jax.data.sequences.samples import NetworkInputs
from fourdc_jax.data.sequences.sequence import SequenceParams
from fourdc_jax.models.backbone import STRIDE_3D, level_strides, stride_4d
from fourdc_jax.params import read_params
from fourdc_jax.train import command
from fourdc_jax.train.command_line import at_least


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--points", type=at_least(1), default=150_000, help="points of a scan")
    add("--scans", type=at_least(1), default=4, help="scans to make samples from")
    add("--num", type=at_least(1), default=20, help="samples to make")


def main(args: argparse.Namespace) -> None:
    """Enlarges the scans, makes samples and prints the times."""
    config = args.config
    data = read_params(DataParams, config.data.to_dict(), "config.data")
    params = read_params(SequenceParams, config.sequence.to_dict(), "config.sequence")
    strides = level_strides(STRIDE_3D), level_strides(stride_4d(data.voxels.stride_time))
    inputs = NetworkInputs(*strides, in_channels=1)
    maker = open_samples(data, params, inputs, config.seed)
    with tempfile.TemporaryDirectory() as folder:
        maker = open_enlarged(maker, args.points, args.scans, Path(folder) / "scans")
        capacity = choose_capacity(data.capacity, maker, batch=1)
        seconds, parts = measure(maker.with_capacity(capacity), args.num)
    print(f"capacity of a sample: {capacity.rows_3d} in 3D, {capacity.rows_4d} in 4D")
    for name, times in parts.items():
        print(f"{name:28s} {1e3 * np.median(times):7.1f} ms")
    print(f"{'whole sample':28s} {1e3 * np.median(seconds):7.1f} ms")
    print(f"{1 / np.mean(seconds):.2f} sequences a second and core (mean of {len(seconds)})")


if __name__ == "__main__":
    command.run(main, __doc__, add_flags, config="configs/pretrain.py")
