"""Voxel grids: the rows of one cloud, and those of several joined into a batch of static shape."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Shaped

PAD_COORDINATE = -(2**30)  # no query matches it; the same value as kernels.PAD_COORDINATE


class Grid(NamedTuple):
    """A voxelised cloud, or several in a batch. A sample's grid has no padding, a batch's has.

    Attributes:
      coords: batch index, then x, y, z (and the frame), unique. Padding is `PAD_COORDINATE`.
      num_rows: rows from this one on are padding.
      features: of the voxels; 0 in padding.
      needed: rows that each level of the network needs, the finest first.
    """

    coords: Int32[np.ndarray, "n 1+d"]
    num_rows: Int32[np.ndarray, ""]
    features: Float32[np.ndarray, "n c"]
    needed: Int32[np.ndarray, "levels"]


def make_grid(
    coords: Int32[np.ndarray, "n _"],
    features: Float32[np.ndarray, "n c"],
    needed: tuple[int, ...],
) -> Grid:
    """The grid of a sample."""
    return Grid(coords, np.array(len(coords), np.int32), features, np.array(needed, np.int32))


def join_grids(grids: Sequence[Grid], capacity: int, items: int = 1) -> Grid:
    """Samples' grids one after another in one batch, padded.

    Args:
      grids: of the samples.
      capacity: rows of the batch.
      items: batch items of each grid: its batch indices are 0 .. items - 1.
    """
    sizes = [len(grid.coords) for grid in grids]
    num_rows = sum(sizes)
    coords = join_rows([grid.coords for grid in grids], capacity, PAD_COORDINATE)
    coords[:num_rows, 0] += np.repeat(np.arange(len(grids), dtype=np.int32) * items, sizes)
    features = join_rows([grid.features for grid in grids], capacity, 0)
    needed = np.sum([grid.needed for grid in grids], axis=0, dtype=np.int32)
    return Grid(coords, np.array(num_rows, np.int32), features, needed)


def join_rows(
    parts: Sequence[Shaped[np.ndarray, "_ *columns"]], capacity: int, padding: int
) -> Shaped[np.ndarray, "capacity *columns"]:
    """Rows of several arrays one after another, then `padding`."""
    joined = np.full((capacity, *parts[0].shape[1:]), padding, parts[0].dtype)
    np.concatenate(parts, out=joined[: sum(map(len, parts))])
    return joined


def first_rows(grids: Sequence[Grid]) -> Int32[np.ndarray, "b"]:
    """The row at which each of the grids begins where they are joined."""
    sizes = np.array([len(grid.coords) for grid in grids], np.int32)
    return np.cumsum(sizes, dtype=np.int32) - sizes
