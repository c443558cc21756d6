"""Held-out scenes: looked at before training, evaluated while it goes on, by all processes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import jax

from fourdc_jax.data.scan import Scan
from fourdc_jax.data.scenes.batches import Source
from fourdc_jax.data.scenes.samples import check_scan
from fourdc_jax.data.sources.labelled import LabelledScans
from fourdc_jax.train.parallel import gather_values

T = TypeVar("T")


@dataclass(frozen=True)
class EvaluationParams:
    """Validation during training, `config.eval`.

    every: optimiser steps between two.
    rotations: predictions averaged, of each scene turned about z in equal steps; 1 for none.
    max_rows: voxels that run at a time, larger scenes are tiled; 0 for whole scenes.
    """

    every: int
    rotations: int
    max_rows: int

    def __post_init__(self) -> None:
        """Raises ValueError for values that no evaluation can have."""
        if self.every < 1:
            raise ValueError(f"config.eval.every is {self.every}; it must be at least 1")
        if self.rotations < 1:
            raise ValueError(f"config.eval.rotations is {self.rotations}; it must be at least 1")
        if self.max_rows < 0:
            raise ValueError(f"config.eval.max_rows is {self.max_rows}; 0 is for whole scenes")


def check_validation(scans: LabelledScans, features: str) -> None:
    """Reads this process's validation scenes: a bad one is told now, not after hours of training.

    Procedural rooms are as they should be, and take long to make.

    Raises:
      ValueError: a scene is damaged, or lacks labels, classes or colours; named.
    """
    for index in own_share(len(scans)):
        if scans.scans.entries[index].kind != "procedural room":
            check_scan(scans[index], features)


def evaluate_shares(scans: Source, evaluate: Callable[[Iterable[Scan]], T]) -> list[T]:
    """What `evaluate` finds in each process's share of the scenes; equal in every process.

    Raises:
      ValueError: a scene cannot be evaluated; in every process alike.
    """
    found, failure = None, ""
    try:
        found = evaluate(scans[index] for index in own_share(len(scans)))
    except (ValueError, OSError, MemoryError) as error:
        failure = str(error)
    parts, failures = zip(*gather_values((found, failure)))
    if any(failures):
        raise ValueError(f"validation failed: {next(filter(None, failures))}")
    return list(parts)


def own_share(count: int) -> range:
    """Indices of the scenes, of so many, that this process looks at."""
    return range(jax.process_index(), count, jax.process_count())
