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

import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from absl import app, flags
from ml_collections import config_flags

from fourdc_jax.data.scan import Scan
from fourdc_jax.data.sequences.batches import collate
from fourdc_jax.data.sequences.from_config import choose_capacity, open_samples
from fourdc_jax.data.sequences.samples import SampleMaker
from fourdc_jax.data.sources.prepare import prepare
from fourdc_jax.data.sources.source import Source, open_scans

CONFIG = config_flags.DEFINE_config_file("config", "configs/pretrain.py", lock_config=True)
POINTS = flags.DEFINE_integer("points", 150_000, "points of a scan")
SCANS = flags.DEFINE_integer("scans", 4, "scans to make samples from", lower_bound=1)
NUM = flags.DEFINE_integer("num", 20, "samples to make", lower_bound=1)


def main(_: list[str]) -> None:
    config = CONFIG.value
    data = config.data.to_dict()
    maker = open_samples(data, config.sequence.to_dict(), config.seed)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "scans"
        entries = [
            replace(entry, read=partial(read_enlarged, entry.read, POINTS.value), check=None)
            for entry in maker.scans.entries[: SCANS.value]
        ]
        prepare(Source(entries, {}), cache, holds="scans", options={}, origin={}, workers=0)
        sampling = replace(maker.sampling, cached=0)
        maker = SampleMaker(
            open_scans(str(cache)),
            Source(maker.shapes.entries, {}, keep=len(maker.shapes)),
            *(maker.sequence, maker.transforms, maker.voxels, sampling),
        )
        capacity = choose_capacity(data, maker)
        seconds, parts = measure(maker, capacity)
    print(f"capacity of a sample: {capacity.rows_3d} in 3D, {capacity.rows_4d} in 4D")
    for name, times in parts.items():
        print(f"{name:28s} {1e3 * np.median(times):7.1f} ms")
    print(f"{'whole sample':28s} {1e3 * np.median(seconds):7.1f} ms")
    print(f"{1 / np.mean(seconds):.2f} sequences a second and core (mean of {len(seconds)})")


def read_enlarged(read, num_points: int) -> Scan:
    """A scan with exactly `num_points`: copies beside each other in x, the last one cut."""
    points = read().points
    width = np.ptp(points[:, 0]) + np.float32(0.5)
    copies = -(-num_points // len(points))
    shifts = np.arange(copies, dtype=np.float32)[:, None, None] * [width, 0, 0]
    tiled = (points + shifts.astype(np.float32)).reshape(-1, 3)
    return Scan("enlarged", tiled[:num_points])


def measure(maker: SampleMaker, capacity) -> tuple[list[float], dict[str, list[float]]]:
    """CPU seconds of whole samples, and of their first parts done alone."""
    seconds, parts = [], {"read and prepare a scan": [], "... and make the sequence": []}
    for number in range(NUM.value):
        index = number * maker.sampling.trajectories_per_scan % len(maker)
        clocks = [time.process_time()]
        maker.scan(maker.choose_scan(index, 0))
        clocks.append(time.process_time())
        maker.make_sequence(number, index)
        clocks.append(time.process_time())
        sample, _ = maker.make_sample(number, index, capacity)
        collate([sample], capacity, in_channels=1)
        clocks.append(time.process_time())
        for times, elapsed in zip([*parts.values(), seconds], np.diff(clocks)):
            times.append(float(elapsed))
    return seconds, parts


if __name__ == "__main__":
    app.run(main)
