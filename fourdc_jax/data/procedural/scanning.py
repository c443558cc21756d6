"""Depth images of a room fused into one point cloud."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int, UInt8

from fourdc_jax.data.procedural.camera import CameraParams, Pose, observe
from fourdc_jax.data.procedural.solids import Mesh, Real

_LIGHT = np.array([0.35, 0.2, 0.9]) / np.linalg.norm([0.35, 0.2, 0.9])  # towards the lamp


@dataclass(frozen=True)
class Cloud:
    """Fused points, their colours, and the part of the room each belongs to."""

    points: Float64[np.ndarray, "n 3"]
    colors: UInt8[np.ndarray, "n 3"]
    parts: Int[np.ndarray, "n"]


def scan(
    mesh: Mesh,
    part_of_quad: Int[np.ndarray, "q"],
    poses: Sequence[Pose],
    camera: CameraParams,
    voxel: Real,
    rng: np.random.Generator,
) -> Cloud:
    """Observe the mesh from all poses and average what falls into one voxel of one part.

    Observations weigh as the inverse of their variance: near ones count most.
    """
    lit = shaded(mesh)
    points, colors, parts, weights = [], [], [], []
    for pose in poses:
        seen, quad, noise = observe(mesh, pose, camera, rng)
        exposure = 1 + camera.exposure * rng.standard_normal()
        grain = camera.grain * rng.standard_normal((len(quad), 1))
        points.append(seen)
        colors.append(lit[quad] * exposure + grain)
        parts.append(part_of_quad[quad])
        weights.append(noise**-2)
    values = np.column_stack([np.concatenate(v) for v in (points, colors, weights)])
    return fuse(values, np.concatenate(parts), voxel)


def shaded(mesh: Mesh) -> Float64[np.ndarray, "q 3"]:
    """Colours under a ceiling lamp and ambient light."""
    toward_lamp = np.clip(mesh.unit_normals @ _LIGHT, -0.5, 1)
    return mesh.colors * (0.78 + 0.22 * toward_lamp)[:, None]


def fuse(values: Float64[np.ndarray, "m 7"], parts: Int[np.ndarray, "m"], voxel: float) -> Cloud:
    """About one point for each voxel of each part: the mean of the observations there.

    Rows are (x, y, z, r, g, b, weight). They are averaged on a grid, then once more on the grid
    shifted by half a voxel, which joins the two layers that a surface leaves where noise spreads it
    over a border of the first.
    """
    for shift in (0.0, 0.5):
        values, parts = average(values, parts, voxel, shift)
    tint = np.clip(255 * values[:, 3:6], 0, 255).astype(np.uint8)
    return Cloud(values[:, :3], tint, parts)


def average(
    values: Float64[np.ndarray, "m 7"], parts: Int[np.ndarray, "m"], voxel: Real, shift: Real
) -> tuple[Float64[np.ndarray, "n 7"], Int[np.ndarray, "n"]]:
    """Weighted means of (x, y, z, r, g, b, weight) rows by voxel and part, in order of voxels."""
    cells = np.floor(values[:, :3] / voxel + shift).astype(np.int64)
    cells -= cells.min(0)
    _, y, z = cells.max(0) + 1
    key = ((cells[:, 0] * y + cells[:, 1]) * z + cells[:, 2]) * (parts.max() + 1) + parts
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    weights = values[:, 6]
    total = np.bincount(group, weights)
    sums = [np.bincount(group, v * weights) / total for v in values[:, :6].T]
    return np.column_stack([*sums, total]), parts[first]
