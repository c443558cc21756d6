"""Light for point clouds: normals and ambient occlusion, computed on a coarse voxel grid.

Scans without colours are legible only when they are lit. Both quantities vary slowly over a
surface, so they are computed for the occupied voxels and read back by the points.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from fourdc_jax.viz.rendering.camera import check_points

BITS = 20  # of each axis in a packed voxel key
NEIGHBOURS = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


@dataclass(frozen=True)
class Surface:
    """Occupied voxels of a cloud: v voxels for n points.

    `index` [n] is the voxel of each point; `centres`, `normals` and `spacing` (the typical distance
    between neighbouring points, metres) belong to voxels. Normals have no orientation.
    """

    cell: float
    index: Int[np.ndarray, "n"]
    centres: Float[np.ndarray, "v 3"]
    normals: Float[np.ndarray, "v 3"]
    spacing: Float[np.ndarray, "v"]
    neighbours: Int[np.ndarray, "v 27"]

    def smooth(self, values: Float[np.ndarray, "v"]) -> Float[np.ndarray, "v"]:
        """Mean over each voxel's occupied neighbourhood."""
        padded = np.append(values, 0.0)
        return padded[self.neighbours].sum(1) / (self.neighbours >= 0).sum(1)


def voxel_surface(points: Float[np.ndarray, "n 3"], *, cell: float = 0.05) -> Surface:
    """Voxels of edge `cell` metres; normals from the points of each 3 x 3 x 3 neighbourhood.

    Where that leaves fewer than 2 points a voxel, such as for an object of 1000 points, the voxels
    are enlarged to at most twice `cell`.
    """
    check_points(points)
    local = (points - points.min(0)).astype(np.float64)  # [n, 3]
    if len(points) < 20_000:
        occupied = len(np.unique(_pack((local / cell).astype(np.int64))))
        cell = 2 * cell if len(points) < 2 * occupied else cell
    grid = (local / cell).astype(np.int64) + 1
    if grid.max() >= 1 << BITS:
        raise ValueError(
            f"the cloud is {local.max():.0f} m wide, too large to draw at {cell} m voxels: "
            f"are its coordinates in metres?"
        )
    keys, index = np.unique(_pack(grid), return_inverse=True)  # [v], [n]
    x, y, z = local.T
    moments = np.stack(
        [np.bincount(index, m) for m in (x, y, z, x * x, x * y, x * z, y * y, y * z, z * z)]
        + [np.bincount(index).astype(np.float64)],
        axis=1,
    )  # [v, 10]
    neighbours = _find_neighbours(keys)  # [v, 27]
    padded = np.concatenate([moments, np.zeros((1, 10))])  # row -1: no such voxel
    total = np.zeros_like(moments)
    for k in range(len(NEIGHBOURS)):
        total += padded[neighbours[:, k]]
    count = total[:, 9:]
    mean, square = total[:, :3] / count, total[:, 3:9] / count
    square = square[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
    covariance = square - mean[:, :, None] * mean[:, None, :]  # [v, 3, 3]
    occupied = (neighbours >= 0).sum(1)
    return Surface(
        cell=cell,
        index=index,
        centres=moments[:, :3] / moments[:, 9:] + points.min(0),
        normals=np.linalg.eigh(covariance)[1][:, :, 0],
        spacing=cell * np.sqrt(np.minimum(occupied, 9) / count[:, 0]),
        neighbours=neighbours,
    )


def _pack(grid: Int[np.ndarray, "... 3"]) -> Int[np.ndarray, "..."]:
    """One integer for each voxel; adding packed offsets adds the coordinates."""
    return (grid[..., 0] << 2 * BITS) + (grid[..., 1] << BITS) + grid[..., 2]


def _find_neighbours(keys: Int[np.ndarray, "v"]) -> Int[np.ndarray, "v 27"]:
    """Row of each neighbouring voxel among the sorted `keys`, -1 where it is empty."""
    neighbours = np.full((len(keys), len(NEIGHBOURS)), -1)
    middle = len(NEIGHBOURS) // 2
    neighbours[:, middle] = np.arange(len(keys))
    for k, shift in enumerate(_pack(NEIGHBOURS[:middle])):
        row = np.minimum(np.searchsorted(keys, keys + shift), len(keys) - 1)
        here = np.flatnonzero(keys[row] == keys + shift)
        neighbours[here, k] = row[here]
        neighbours[row[here], len(NEIGHBOURS) - 1 - k] = here  # the same pair, seen from there
    return neighbours


def ambient_occlusion(
    surface: Surface,
    normals: Float[np.ndarray, "v 3"],
    *,
    directions: int = 24,
    reach: float = 2.0,
) -> Float[np.ndarray, "v"]:
    """How much of the sky each voxel sees, 0 to 1, from `directions` parallel-light shadow maps.

    `normals` must point to the side that is looked at. Shadows are cast over at most `reach`
    metres, so that a scan's far walls do not darken the middle of the room.
    """
    visible = np.zeros(len(normals), np.float32)
    weight = np.zeros(len(normals), np.float32)
    centres = (surface.centres - surface.centres.mean(0)).T.astype(np.float32)  # [3, v]
    normals = normals.T.astype(np.float32)
    start = centres + np.float32(1.5 * surface.cell) * normals  # off the surface: no self-shadow
    for light in _sky(directions).astype(np.float32):
        lit_side = np.maximum(light @ normals, 0)
        across = _basis(light).astype(np.float32) / np.float32(surface.cell)
        caster, receiver = across @ centres, across @ start  # [2, v] shadow map cells
        low = np.minimum(caster.min(1), receiver.min(1))[:, None]
        caster, receiver = (caster - low).astype(np.int64), (receiver - low).astype(np.int64)
        rows, stride = np.maximum(caster.max(1), receiver.max(1)) + 1
        highest = np.full(rows * stride, -np.inf, np.float32)
        np.maximum.at(highest, caster[0] * stride + caster[1], light @ centres)
        over = highest[receiver[0] * stride + receiver[1]] - light @ start
        shadow = (over > surface.cell) * np.clip(1 - over / (2 * reach), 0.3, 1)
        visible += lit_side * (1 - shadow)
        weight += lit_side
    return surface.smooth(surface.smooth(visible / np.maximum(weight, 1e-6)))


def _sky(count: int) -> np.ndarray:
    """Directions evenly spread over the upper hemisphere (Fibonacci spiral), [count, 3]."""
    i = np.arange(count) + 0.5
    z = 0.15 + 0.85 * i / count
    angle = np.pi * (1 + 5**0.5) * i
    ring = np.sqrt(1 - z**2)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)


def _basis(axis: np.ndarray) -> np.ndarray:
    """Two unit vectors perpendicular to `axis`, [2, 3]."""
    helper = np.array([1.0, 0.0, 0.0]) if abs(axis[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    first = np.cross(axis, helper)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(axis, first)])
