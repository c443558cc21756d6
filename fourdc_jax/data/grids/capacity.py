"""Rows that the samples of a micro-batch share: measured, and cropped where they do not suffice.

Samples differ in size by a lot, micro-batches of many by little: sharing rows costs less padding
than a share for the largest sample each.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Int

Rows = tuple[int, ...]  # at every level of the network, the finest first

GROUPS = 64  # random micro-batches of the measured samples
MOST_KEPT = 0.97  # of the samples' size, in each attempt to crop them


class SampleTooLarge(ValueError):
    """The samples of a micro-batch need more rows than the capacity holds."""


@runtime_checkable
class Sized(Protocol):
    """A sample as the capacity sees it: `size` is what cropping limits, `needed` are its rows.

    Of a sample with several grids `needed` has the levels of all, one grid after another.
    """

    @property
    def size(self) -> int: ...

    @property
    def needed(self) -> Rows: ...


@runtime_checkable
class Samples(Protocol):
    """Samples of any size by epoch and index; `seed` is that of everything random in them."""

    @property
    def seed(self) -> int: ...

    def __len__(self) -> int: ...

    def make_sample(self, epoch: int, index: int) -> Sized: ...


@dataclass(frozen=True)
class MarginParams:
    """How rows are measured.

    num_samples: samples measured. margin: factor on the largest need. multiple: rounds up.
    """

    num_samples: int
    margin: float
    multiple: int

    def __post_init__(self) -> None:
        """Raises ValueError for values that nothing can be measured with."""
        if min(self.num_samples, self.multiple) < 1 or self.margin <= 0:
            raise ValueError(
                f"config.data.capacity: num_samples is {self.num_samples}, margin {self.margin} "
                f"and multiple {self.multiple}; they must be at least 1, above 0 and at least 1"
            )


def measure_rows(samples: Samples, params: MarginParams, batch: int) -> Rows:
    """Rows at every level that all but rare micro-batches of so many samples fit.

    The largest need of random groups of the measured samples, times the margin, rounded up.
    Depends on the data and the configuration only, so that a resumed run compiles the same
    program.
    """
    count = min(params.num_samples, len(samples))
    indices = np.linspace(0, len(samples) - 1, count).round().astype(int).tolist()
    epochs = range(math.ceil(params.num_samples / count))  # few samples are measured several times
    needs = np.array([samples.make_sample(e, i).needed for e in epochs for i in indices])
    rng = np.random.default_rng([samples.seed, 8])
    groups = needs[rng.integers(len(needs), size=(GROUPS, batch))]  # [groups, batch, levels]
    return add_margin(np.concatenate([groups.sum(axis=1), needs]), params)


def add_margin(rows: Int[np.ndarray, "needs levels"], params: MarginParams) -> Rows:
    """The largest need at every level, times the margin, rounded up."""
    wanted = np.ceil(rows.max(axis=0) * params.margin / params.multiple)
    return tuple(int(value) * params.multiple for value in wanted)


def holds(capacity: Rows, needed: Rows) -> bool:
    """Whether every level has at least as many rows as needed."""
    return all(need <= rows for need, rows in zip(needed, capacity, strict=True))


def count_needed(samples: list[Sized]) -> Rows:
    """Rows of all samples together at every level."""
    return tuple(sum(rows) for rows in zip(*(sample.needed for sample in samples)))


def common_limit(sizes: Int[np.ndarray, "s"], budget: int) -> int:
    """The largest limit so that sizes cut to it sum to at most the budget, less than their sum."""
    ordered = np.sort(sizes)
    smaller = np.cumsum(ordered) - ordered  # [s] sum of the sizes before each one
    limits = (budget - smaller) // np.arange(len(sizes), 0, -1)  # [s] if those are left whole
    return int(limits[np.argmax(limits < ordered)])


S = TypeVar("S", bound=Sized)


def fit_together(
    samples: list[S], capacity: Rows, crop: Callable[[S, int], S] | None
) -> list[S] | None:
    """The samples, the largest ones cropped to a common size where all together do not fit.

    Args:
      samples: of one micro-batch.
      capacity: rows that they share.
      crop: (sample, size) -> the sample with no more than that; None: nothing may be cropped.

    Returns None where they do not fit and may not be cropped, or cannot be cropped that much.
    """
    if holds(capacity, needed := count_needed(samples)):
        return samples
    if crop is None or not holds(capacity, count_needed([crop(own, 1) for own in samples])):
        return None
    sizes = np.array([sample.size for sample in samples])
    budget, fitted = int(sizes.sum()), samples
    while not holds(capacity, needed):
        ratios = [rows / need for rows, need in zip(capacity, needed) if need]
        budget = int(budget * min(MOST_KEPT, *ratios))
        if budget < len(samples):
            return None
        limit = common_limit(sizes, budget)
        fitted = [own if own.size <= limit else crop(own, limit) for own in samples]
        needed = count_needed(fitted)
    return fitted
