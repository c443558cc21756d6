"""The voxels that the benchmarks run on: surfaces of procedural rooms.

The rooms are scanned more densely than the dataset's own, so that a voxel of 2 cm has about 8 of
its 27 neighbours (itself among them), as in ScanNet.
"""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32

from fourdc_jax.data.procedural.rooms import PARAMS, make_room

LEVEL_STRIDES = (1, 2, 4, 8, 16)
FRAMES = 4
FIRST_ROOM = 1
DENSE = replace(PARAMS, voxel=0.022, camera=replace(PARAMS.camera, width=240, height=180))


def room_voxels(
    num_rows: int, voxel: float, *, rows_of_room: int | None = None
) -> Int32[Array, "n 4"]:
    """Coordinates (batch, x, y, z) of exactly `num_rows` voxels, sorted.

    Rooms follow each other as batch items; of the last one the part around its centre is taken, and
    of the others too where `rows_of_room` says how many voxels of each.
    """
    items, missing = [], num_rows
    while missing > 0:
        cells = _cells(FIRST_ROOM + len(items), voxel)
        wanted = min(missing, rows_of_room or missing)
        if len(cells) > wanted:
            distance = np.linalg.norm(cells - cells.mean(0), axis=1)
            cells = cells[np.sort(np.argsort(distance, kind="stable")[:wanted])]
        items.append(np.insert(cells, 0, len(items), axis=1))
        missing -= len(cells)
    return jnp.asarray(np.concatenate(items).astype(np.int32))


def sequence_voxels(num_rows: int, voxel: float) -> Int32[Array, "n 5"]:
    """Coordinates (batch, x, y, z, t) of static rooms seen in `FRAMES` frames, sorted.

    Raises:
      ValueError: the rows do not fill whole frames.
    """
    if num_rows % FRAMES:
        raise ValueError(f"{num_rows} rows are not {FRAMES} frames of equal size")
    cells = np.repeat(np.asarray(room_voxels(num_rows // FRAMES, voxel)), FRAMES, axis=0)
    frames = np.tile(np.arange(FRAMES, dtype=np.int32), num_rows // FRAMES)
    return jnp.asarray(np.column_stack([cells, frames]))


def level_capacities(coords: Int32[Array, "n columns"], multiple: int = 128) -> list[int]:
    """Static rows of the five levels of a U-Net, rounded up as the data loader rounds its own.

    Time, the fourth axis, is strided as the others are. Level 0 has a row for each coordinate.
    """
    cells = np.asarray(coords)
    rows = []
    for stride in LEVEL_STRIDES:
        divisors = np.array([1] + [stride] * (cells.shape[1] - 1), np.int32)
        cells = np.unique(cells // divisors * divisors, axis=0)
        rows.append(len(cells))
    return [rows[0], *(-(-count // multiple) * multiple for count in rows[1:])]


def _cells(seed: int, voxel: float) -> Int32[np.ndarray, "n 3"]:
    points = make_room(seed, params=DENSE).points
    return np.unique(np.floor(points / voxel).astype(np.int32), axis=0)
