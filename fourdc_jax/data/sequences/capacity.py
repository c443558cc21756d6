"""How many rows the networks' levels need for the data: measured, with a margin."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from fourdc_jax.data.sequences.batches import Capacity
from fourdc_jax.data.sequences.samples import SampleMaker


@dataclass(frozen=True)
class MarginParams:
    """How rows are measured.

    num_samples: samples measured. margin: factor on the largest of them. multiple: rounds up.
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


@dataclass(frozen=True)
class CapacityParams(MarginParams):
    """Rows of one sample at every level of both networks: given, or where empty, measured."""

    rows_3d: tuple[int, ...]
    rows_4d: tuple[int, ...]


def measure_capacity(maker: SampleMaker, params: CapacityParams) -> Capacity:
    """Rows at every level of the 3D and the 4D network that all but rare samples fit.

    The largest need of `num_samples` samples spread over the first epoch, times the margin,
    rounded up. It depends on the data and the configuration only, so that a resumed run compiles
    the same program. A sample that needs more is no silent loss: the loader reports it by name
    and crops it or stops, as configured.
    """
    count = min(params.num_samples, len(maker))
    indices = np.unique(np.linspace(0, len(maker) - 1, count).round().astype(int))
    needs = [maker.make_sample(0, int(index), capacity=None)[0].needed for index in indices]
    return Capacity(
        add_margin(np.array([need.rows_3d for need in needs]), params),
        add_margin(np.array([need.rows_4d for need in needs]), params),
    )


def add_margin(rows: Int[np.ndarray, "samples levels"], params: MarginParams) -> tuple[int, ...]:
    """The largest of every level, times the margin, rounded up; a coarser level is no larger."""
    wanted = np.ceil(rows.max(axis=0) * params.margin / params.multiple)
    return tuple(int(value) * params.multiple for value in wanted)
