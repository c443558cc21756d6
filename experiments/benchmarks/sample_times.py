"""CPU seconds that a pre-training sample takes, on scans of a chosen size."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from fourdc_jax.data.scan import Scan
from fourdc_jax.data.sequences.batches import Capacity, collate
from fourdc_jax.data.sequences.samples import SampleMaker
from fourdc_jax.data.sources.prepare import prepare
from fourdc_jax.data.sources.source import Source, open_scans


def open_enlarged(maker: SampleMaker, num_points: int, num_scans: int, cache: Path) -> SampleMaker:
    """The same samples from the first scans, brought to `num_points` each and kept in a cache."""
    entries = [
        replace(entry, read=partial(read_enlarged, entry.read, num_points), check=None)
        for entry in maker.scans.entries[:num_scans]
    ]
    prepare(Source(entries, {}), cache, holds="scans", options={}, origin={}, workers=0)
    sampling = replace(maker.sampling, cached=0)
    return SampleMaker(
        open_scans(str(cache)),
        Source(maker.shapes.entries, {}, keep=len(maker.shapes)),
        *(maker.sequence, maker.transforms, maker.voxels, sampling),
    )


def read_enlarged(read: Callable[[], Scan], num_points: int) -> Scan:
    """A scan with exactly `num_points`: copies beside each other in x, the last one cut."""
    points = read().points
    width = np.ptp(points[:, 0]) + np.float32(0.5)
    copies = -(-num_points // len(points))
    shifts = np.arange(copies, dtype=np.float32)[:, None, None] * [width, 0, 0]
    tiled = (points + shifts.astype(np.float32)).reshape(-1, 3)
    return Scan("enlarged", tiled[:num_points])


def measure(
    maker: SampleMaker, capacity: Capacity, num: int
) -> tuple[list[float], dict[str, list[float]]]:
    """CPU seconds of whole samples, and of their first parts done alone."""
    seconds, parts = [], {"read and prepare a scan": [], "... and make the sequence": []}
    for number in range(num):
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
