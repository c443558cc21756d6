"""The sequence of an (epoch, index): which scan and shape, and what if they do not fit."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from fourdc_jax.data.report import Message
from fourdc_jax.data.scan import Scan
from fourdc_jax.data.sequences.sequence import (
    PreparedScan,
    Sequence,
    SequenceParams,
    make_sequence,
    prepare_scan,
)
from fourdc_jax.data.shape import Shape


@runtime_checkable
class Source(Protocol):
    """Scans or shapes by index, read when asked for, picklable for worker processes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Scan | Shape: ...


@dataclass(frozen=True)
class SamplingParams:
    """How the samples of an epoch are chosen.

    seed: of everything random in the data.
    trajectories_per_scan: sequences of each scan in an epoch.
    shapes_per_scan: shapes tried in a scan before the next scan takes its place.
    max_attempts: (scan, shape) pairs tried before giving up with an error.
    cached: scans, and shapes, that a process keeps in memory, prepared.
    """

    seed: int
    trajectories_per_scan: int
    shapes_per_scan: int
    max_attempts: int
    cached: int


@dataclass(frozen=True)
class Rejection:
    """A (scan, shape) pair that gave no sequence, and why."""

    scan: str
    shape: str
    reason: str


@dataclass(frozen=True)
class Report:
    """How one sample came about.

    `rejections` are the pairs tried in vain before `scan` and `shape`; `discarded` counts draws
    that kept too few points; `kept` is the share of the scan left by cropping, 1 where none was.
    """

    scan: str
    shape: str
    rejections: tuple[Rejection, ...]
    discarded: int
    kept: float = 1.0

    @property
    def counts(self) -> Mapping[str, int]:
        """What is added up over a run."""
        return {
            "rejected": len(self.rejections),
            "discarded": self.discarded,
            "cropped": int(self.kept < 1),
        }

    @property
    def messages(self) -> tuple[Message, ...]:
        """Warnings: of each scan without a sequence one, and of every crop."""
        told = [
            Message(
                f"scan {rejection.scan!r} gives no sequence with shape {rejection.shape!r}: "
                f"{rejection.reason}; replaced by the next pair (more of this scan are only "
                "counted)",
                topic=rejection.scan,
            )
            for rejection in self.rejections
        ]
        if self.kept < 1:
            told.append(
                Message(
                    f"a sequence of scan {self.scan!r} and shape {self.shape!r} does not fit into "
                    f"its micro-batch: cropped to {self.kept:.0%} of the scan"
                )
            )
        return tuple(told)


class SequenceMaker:
    """Makes sequences from a scan and a shape source.

    Everything random in a sequence comes from (seed, epoch, index): it is the same whatever was
    made before it, and in whatever process. Picklable; the cached scans stay behind.
    """

    def __init__(
        self, scans: Source, shapes: Source, params: SequenceParams, sampling: SamplingParams
    ) -> None:
        """Raises ValueError where there are no scans, or no shapes for moving objects."""
        if len(scans) == 0:
            raise ValueError("there are no scans to make sequences from")
        if params.with_object and len(shapes) == 0:
            raise ValueError("there are no shapes to move through the scans")
        self.scans, self.shapes = scans, shapes
        self.params, self.sampling = params, sampling
        self._scans: OrderedDict[int, Any] = OrderedDict()
        self._shapes: OrderedDict[int, Any] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scans": OrderedDict(), "_shapes": OrderedDict()}

    def __len__(self) -> int:
        """Sequences in an epoch."""
        return len(self.scans) * self.sampling.trajectories_per_scan

    def scan(self, index: int) -> PreparedScan:
        """A prepared scan, from memory if it was used lately."""
        prepare = lambda: prepare_scan(self.scans[index], self.params)  # noqa: E731
        return remember(self._scans, index, self.sampling.cached, prepare)

    def shape(self, index: int) -> Shape:
        """A shape, from memory if it was used lately."""
        return remember(self._shapes, index, self.sampling.cached, lambda: self.shapes[index])

    def make_sequence(self, epoch: int, index: int) -> tuple[Sequence, Report]:
        """The sequence of an index: its own scan with a random shape, or what takes their place.

        Where a pair has no trajectory, or keeps too few points, the scan is tried with other
        random shapes, then another random scan, and so on: the same ones for the same seed.

        Raises:
          ValueError: no pair of `max_attempts` gave a sequence.
        """
        sampling = self.sampling
        rejections: list[Rejection] = []
        discarded = 0
        for attempt in range(sampling.max_attempts):
            seed = derive_seed(sampling.seed, index, attempt)
            scan = self.scan(self.choose_scan(index, attempt))
            shape = None
            if self.params.with_object:
                draw = np.random.default_rng([seed, 2]).integers(len(self.shapes))
                shape = self.shape(int(draw))
            result = make_sequence(scan, shape, seed, epoch, self.params)
            discarded += getattr(result, "discarded", 0)
            if isinstance(result, Sequence):
                return result, Report(result.scan, result.shape, tuple(rejections), discarded)
            name = "" if shape is None else shape.name
            rejections.append(Rejection(scan.name, name, result.reason))
        last = rejections[-1]
        raise ValueError(
            f"no sequence in {sampling.max_attempts} pairs of scan and shape; the last one was "
            f"scan {last.scan!r} with shape {last.shape!r}: {last.reason}"
        )

    def choose_scan(self, index: int, attempt: int) -> int:
        """The scan of an attempt: the sample's own first, then random ones in its place.

        Random, not the neighbour, which would take all the samples of an unfit scan.
        """
        replacement = attempt // self.sampling.shapes_per_scan
        if replacement == 0:
            return index // self.sampling.trajectories_per_scan
        rng = np.random.default_rng([self.sampling.seed, index, replacement, 5])
        return int(rng.integers(len(self.scans)))


def derive_seed(seed: int, index: int, attempt: int) -> int:
    """One number for everything random in a sequence, well mixed from what it depends on."""
    return int(np.random.SeedSequence([seed, index, attempt]).generate_state(1, np.uint64)[0] >> 1)


def remember(cache: OrderedDict[int, Any], index: int, size: int, make: Callable[[], Any]) -> Any:
    """The value of an index, made where it is not among the `size` ones used last."""
    if index in cache:
        cache.move_to_end(index)
        return cache[index]
    value = make()
    cache[index] = value
    while len(cache) > size:
        cache.popitem(last=False)
    return value
