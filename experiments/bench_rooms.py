"""The voxels that the benchmarks run on: surfaces of a procedural room."""

import jax.numpy as jnp
import numpy as np

from fourdc_jax.data.procedural.rooms import make_room

LEVEL_STRIDES = (1, 2, 4, 8, 16)


def room_voxels(num_rows: int, voxel: float, seed: int = 1):
    """int32 [num_rows, 4] coordinates (batch index 0) of the part of a room around its centre.

    Raises:
      ValueError: the room has fewer voxels.
    """
    points = make_room(seed, num_points=400_000).points
    cells = np.unique(np.floor(points / voxel).astype(np.int32), axis=0)
    if len(cells) < num_rows:
        raise ValueError(f"room {seed} has {len(cells)} voxels of {voxel} m, not {num_rows}")
    distance = np.linalg.norm(cells - cells.mean(0), axis=1)
    cells = cells[np.sort(np.argsort(distance, kind="stable")[:num_rows])]
    return jnp.asarray(np.insert(cells, 0, 0, axis=1).astype(np.int32))


def level_capacities(coords, multiple: int = 128) -> list[int]:
    """Static rows of the five levels of a U-Net, rounded up as the data loader rounds its own."""
    cells = np.asarray(coords)
    rows = [len(np.unique(cells // [1, s, s, s], axis=0)) for s in LEVEL_STRIDES]
    return [-(-count // multiple) * multiple for count in rows]
