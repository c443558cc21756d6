"""CPU seconds that a pre-training sample takes, on scans of a chosen size."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from fourdc_jax.data.scan import Scan
from fourdc_jax.data.sequences.batches import Maker
from fourdc_jax.data.sequences.sampling import SequenceMaker
from fourdc_jax.data.sources.prepare import prepare
from fourdc_jax.data.sources.source import Source, open_scans


def open_enlarged(maker: Maker, num_points: int, num_scans: int, cache: Path) -> Maker:
    """The same samples from the first scans, brought to `num_points` each and kept in a cache."""
    given = maker.sequences
    entries = [
        replace(entry, read=partial(read_enlarged, entry.read, num_points), check=None)
        for entry in given.scans.entries[:num_scans]
    ]
    prepare(Source(entries, {}), cache, holds="scans", options={}, origin={}, workers=0)
    sequences = SequenceMaker(
        open_scans(str(cache)),
        Source(given.shapes.entries, {}, keep=len(given.shapes)),
        given.params,
        replace(given.sampling, cached=0),
    )
    return replace(maker, sequences=sequences)


def read_enlarged(read: Callable[[], Scan], num_points: int) -> Scan:
    """A scan with exactly `num_points`: copies beside each other in x, the last one cut."""
    points = read().points
    width = np.ptp(points[:, 0]) + np.float32(0.5)
    copies = -(-num_points // len(points))
    shifts = np.arange(copies, dtype=np.float32)[:, None, None] * [width, 0, 0]
    tiled = (points + shifts.astype(np.float32)).reshape(-1, 3)
    return Scan("enlarged", tiled[:num_points])


def measure(maker: Maker, num: int) -> tuple[list[float], dict[str, list[float]]]:
    """CPU seconds of whole samples, and of their first parts done alone."""
    sequences = maker.sequences
    seconds, parts = [], {"read and prepare a scan": [], "... and make the sequence": []}
    for number in range(num):
        index = number * sequences.sampling.trajectories_per_scan % len(maker)
        clocks = [time.process_time()]
        sequences.scan(sequences.choose_scan(index, 0))
        clocks.append(time.process_time())
        sequences.make_sequence(number, index)
        clocks.append(time.process_time())
        maker.join([maker.make_sample(number, index)])
        clocks.append(time.process_time())
        for times, elapsed in zip([*parts.values(), seconds], np.diff(clocks)):
            times.append(float(elapsed))
    return seconds, parts
