"""Rows of a micro-batch of scenes, and of the few programs that evaluation compiles."""

import math
from dataclasses import dataclass

from fourdc_jax.data.grids.capacity import MarginParams, Rows, holds


@dataclass(frozen=True)
class CapacityParams(MarginParams):
    """Rows of a micro-batch at every level: given, or where empty, measured.

    rows: of a micro-batch in training.
    growth: factor between the capacities that evaluation compiles programs for.
    """

    rows: Rows
    growth: float

    def __post_init__(self) -> None:
        """Raises ValueError for values that nothing can be measured with."""
        super().__post_init__()
        if self.growth <= 1:
            raise ValueError(f"config.data.capacity.growth is {self.growth}; it must be above 1")


def choose_evaluation_rows(needed: Rows, training: Rows, params: CapacityParams) -> Rows:
    """The smallest capacity that holds a scene, out of few for all scenes.

    They are the training capacity times a power of `growth`, rounded up: scenes of sizes that
    differ by a factor f take about log(f) / log(growth) programs.
    """
    ratio = max(need / rows for need, rows in zip(needed, training))
    power = math.floor(math.log(ratio, params.growth))  # rounding up may let a smaller one do
    while not holds(rows := scale_rows(training, params.growth**power, params.multiple), needed):
        power += 1
    return rows


def scale_rows(rows: Rows, factor: float, multiple: int) -> Rows:
    """Rows of every level times a factor, rounded up."""
    return tuple(math.ceil(count * factor / multiple) * multiple for count in rows)
