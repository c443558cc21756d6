"""Rows of a micro-batch of sequences at every level of both networks."""

from dataclasses import dataclass
from typing import NamedTuple

from fourdc_jax.data.grids.capacity import MarginParams, Rows


class Capacity(NamedTuple):
    """Rows of a micro-batch at every level of the 3D and the 4D network, the finest first."""

    rows_3d: Rows
    rows_4d: Rows


@dataclass(frozen=True)
class CapacityParams(MarginParams):
    """Rows of a micro-batch at every level of both networks: given, or where empty, measured."""

    rows_3d: Rows
    rows_4d: Rows
