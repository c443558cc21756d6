"""Scenes larger than the memory: tiles seen from above, each with a margin of its neighbours."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Int32

Box = tuple[int, int, int, int]  # lowest x and y, and the highest, in voxels


@dataclass(frozen=True)
class Tile:
    """A part of a scene's rows.

    Attributes:
      rows: of the scene, ascending: the tile's own and its margin.
      own: which of them are the tile's own; every row of the scene is one tile's own.
    """

    rows: Int[np.ndarray, "t"]
    own: Bool[np.ndarray, "t"]


def split_into_tiles(coords: Int32[np.ndarray, "v 3"], max_rows: int, margin: int) -> list[Tile]:
    """Tiles of at most `max_rows` rows, margins included; a single one where all rows fit.

    Boxes are halved along their longer horizontal side, each half with as many rows, until they
    fit. Where that would leave a box shorter than its margin, and almost all work in the margins,
    the margin is halved and the scene divided anew.

    Args:
      coords: unique.
      max_rows: of a tile.
      margin: voxels around a tile that it sees, along x and y.

    Raises:
      ValueError: `max_rows` is less than a single column of voxels.
    """
    x, y = coords[:, 0], coords[:, 1]
    whole = (int(x.min()), int(y.min()), int(x.max()), int(y.max()))
    while (tiles := divide(coords, whole, max_rows, margin)) is None:
        if margin == 0:
            raise ValueError(
                f"max_rows is {max_rows}, less than the voxels above one spot: allow more rows"
            )
        margin //= 2
    return tiles


def divide(
    coords: Int32[np.ndarray, "v 3"], box: Box, max_rows: int, margin: int
) -> list[Tile] | None:
    """The tiles of a box; None where one would be shorter than the margin."""
    seen = np.flatnonzero(within(coords, widen(box, margin)))
    if len(seen) <= max_rows:
        return [Tile(seen, within(coords[seen], box))]
    axis = int(box[3] - box[1] > box[2] - box[0])
    low, high = box[axis], box[axis + 2]
    shortest = max(margin, 1)
    if high - low + 1 < 2 * shortest:
        return None
    median = int(np.median(coords[within(coords, box), axis]))
    middle = min(max(median, low + shortest - 1), high - shortest)  # last voxel of the lower half
    lower, upper = list(box), list(box)
    lower[axis + 2], upper[axis] = middle, middle + 1
    tiles = []
    for half in (tuple(lower), tuple(upper)):
        if within(coords, half).any():
            parts = divide(coords, half, max_rows, margin)
            if parts is None:
                return None
            tiles += parts
    return tiles


def within(coords: Int32[np.ndarray, "v 3"], box: Box) -> Bool[np.ndarray, "v"]:
    """Rows inside a box, its borders included."""
    x, y = coords[:, 0], coords[:, 1]
    return (x >= box[0]) & (y >= box[1]) & (x <= box[2]) & (y <= box[3])


def widen(box: Box, margin: int) -> Box:
    """The box with a margin on all sides."""
    return (box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin)
