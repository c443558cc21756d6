"""Random changes of a labelled scene; the ranges of PointContrast and CSC.

A scan goes in and a scan comes out, with every point in its place: labels, instances and colours
belong to the points. At zero strength every change is the identity, bit for bit. Which voxels are
dropped, and by how much all are shifted, is drawn here, too, and applied once there are voxels.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64, Int, Int32, UInt8

from fourdc_jax.data.geometry import middle_of, rotation_xyz, transform_points
from fourdc_jax.data.scan import Scan

ELASTIC_PASSES = 2  # of the box filter that smooths the elastic noise
MOST_NODES = 2**25  # of an elastic grid: 400 MB
CHUNK = 8192  # points interpolated at a time
CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]


@dataclass(frozen=True)
class ColorJitterParams:
    """Changes of colour, as parts of its range.

    contrast: probability that the colours are stretched towards the full range, by a random part.
    shift: largest shift of each channel of the whole scene, either way.
    noise: standard deviation of the noise of each point.
    probability: how often there is a shift, and how often there is noise.
    """

    contrast: float
    shift: float
    probability: float
    noise: float


@dataclass(frozen=True)
class AugmentationParams:
    """Ranges of the random changes of a scene.

    dropout, dropout_probability: share of the voxels left out, and how often any are.
    elastic_granularity, elastic_magnitude: spacing of the noise grids in metres, and the factor on
      each one's smoothed unit normal noise, metres.
    elastic_probability: how often a scene is distorted.
    rotation: largest angle about x, y and z in degrees, either way; in random order.
    scale: (smallest, largest) factor.
    flip_probability: how often flips are drawn at all; then each horizontal axis is one in two.
    voxel_offset: largest shift of the voxel coordinates along each axis: the place of a scene
      decides which voxels the coarse levels join.
    color: changes of the colours.
    """

    dropout: float
    dropout_probability: float
    elastic_granularity: tuple[float, ...]
    elastic_magnitude: tuple[float, ...]
    elastic_probability: float
    rotation: tuple[float, float, float]
    scale: tuple[float, float]
    flip_probability: float
    voxel_offset: int
    color: ColorJitterParams

    def __post_init__(self) -> None:
        """Raises ValueError for values that no augmentation can have."""
        if len(self.elastic_granularity) != len(self.elastic_magnitude):
            raise ValueError(
                f"elastic_granularity has {len(self.elastic_granularity)} values and "
                f"elastic_magnitude {len(self.elastic_magnitude)}: give one magnitude a grid"
            )
        if min(self.elastic_granularity, default=1.0) <= 0:
            raise ValueError(f"elastic_granularity {self.elastic_granularity} must be positive")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout {self.dropout} must be at least 0 and less than 1")
        if self.voxel_offset < 0:
            raise ValueError(f"voxel_offset {self.voxel_offset} must not be negative")


def augment(scan: Scan, params: AugmentationParams, rng: np.random.Generator) -> Scan:
    """Distorts, turns, scales and flips a scene, and changes its colours.

    The boxes, which would not follow, are left out.

    Raises:
      ValueError: the scene is too long for its elastic grid, as `distort_elastically` says.
    """
    scan = replace(scan, boxes=None)
    points, colors = scan.points, scan.colors
    if rng.random() < params.elastic_probability:
        try:
            for granularity, magnitude in zip(params.elastic_granularity, params.elastic_magnitude):
                points = distort_elastically(points, granularity, magnitude, rng)
        except ValueError as error:
            raise ValueError(f"scan {scan.name!r}: {error}") from error
    points = transform_points(points, draw_similarity(points, params, rng))
    if colors is not None:
        colors = jitter_colors(colors, params.color, rng)
    return replace(scan, points=points, colors=colors)


def distort_elastically(
    points: Float32[np.ndarray, "n 3"],
    granularity: float,
    magnitude: float,
    rng: np.random.Generator,
) -> Float32[np.ndarray, "n 3"]:
    """Moves points by smooth noise: unit normal on a grid, smoothed, interpolated linearly.

    Args:
      granularity: spacing of the grid, metres.
      magnitude: factor on the noise. Smoothing leaves a standard deviation of 0.11, so points move
        by about a tenth of it along each axis.

    Raises:
      ValueError: the grid has too many nodes, as one stray point far away can make it.
    """
    spacing = np.float32(granularity)
    cells = np.ascontiguousarray(points.T) / spacing  # [3, n] in units of the grid's spacing
    cells -= cells.min(axis=1, keepdims=True) - 1  # a node of margin
    shape = tuple(int(size) + 2 for size in cells.max(axis=1))
    if math.prod(shape) > MOST_NODES:
        extent = " x ".join(f"{size:.0f}" for size in np.ptp(points, axis=0))
        raise ValueError(
            f"elastic distortion of a scene of {extent} m on a grid of {granularity} m is too much "
            "for memory: remove stray points, cut the scene, or use a coarser grid"
        )
    noise = smooth_noise(rng.standard_normal((3, *shape), np.float32))
    return points + np.float32(magnitude) * interpolate(noise, cells).T


def smooth_noise(noise: Float32[np.ndarray, "3 x y z"]) -> Float32[np.ndarray, "3 x y z"]:
    """The mean of each node and its two neighbours, along each axis in turn; outside is 0."""
    for axis in (1, 2, 3) * ELASTIC_PASSES:
        along = np.moveaxis(noise, axis, 0)  # a view
        total = along.copy()
        total[1:] += along[:-1]
        total[:-1] += along[1:]
        noise = np.moveaxis(total / np.float32(3), 0, axis)
    return noise


def interpolate(
    grid: Float32[np.ndarray, "3 x y z"], cells: Float32[np.ndarray, "3 n"]
) -> Float32[np.ndarray, "3 n"]:
    """Trilinear interpolation of the grid's vectors at places in units of its spacing.

    In chunks of points whose intermediate values stay in the processor's cache.
    """
    size_y, size_z = grid.shape[2:]
    channels = grid.reshape(3, -1)  # [3, x * y * z]
    result = np.zeros(cells.shape, np.float32)
    for start in range(0, cells.shape[1], CHUNK):
        place = cells[:, start : start + CHUNK]
        lowest = np.floor(place)
        part = place - lowest  # [3, chunk] of the spacing
        weights = list(zip(1 - part, part))
        x, y, z = lowest.astype(np.intp)
        first = (x * size_y + y) * size_z + z  # the lowest corner's node
        for corner_x, corner_y, corner_z in CORNERS:
            weight = weights[0][corner_x] * weights[1][corner_y] * weights[2][corner_z]
            node = first + ((corner_x * size_y + corner_y) * size_z + corner_z)
            for own, channel in zip(result[:, start : start + CHUNK], channels):
                own += channel.take(node) * weight
    return result


def draw_similarity(
    points: Float32[np.ndarray, "n 3"], params: AugmentationParams, rng: np.random.Generator
) -> Float64[np.ndarray, "4 4"]:
    """Rotations in random order, scaling and flips, about the middle of the points' box."""
    angles = np.deg2rad(rng.uniform(-1, 1, 3) * params.rotation)
    linear = np.eye(3)
    for axis in rng.permutation(3):
        linear = rotation_xyz(np.where(np.arange(3) == axis, angles, 0.0)) @ linear
    linear *= rng.uniform(*params.scale)
    flipped = rng.random(2) < 0.5
    if rng.random() < params.flip_probability:
        linear[:2][flipped] *= -1
    center = middle_of(points)
    transform = np.eye(4)
    transform[:3, :3] = linear
    transform[:3, 3] = center - linear @ center
    return transform


def draw_kept(num_rows: int, share: float, rng: np.random.Generator) -> Int[np.ndarray, "kept"]:
    """The rows, ascending, that are left when a random share is dropped; one always stays."""
    num_dropped = min(int(share * num_rows), num_rows - 1)
    kept = np.ones(num_rows, bool)
    kept[rng.choice(num_rows, num_dropped, replace=False, shuffle=False)] = False
    return np.flatnonzero(kept)


def draw_voxel_offset(largest: int, rng: np.random.Generator) -> Int32[np.ndarray, "3"]:
    """A shift of voxel coordinates, uniform in 0..largest along each axis."""
    return rng.integers(0, largest, 3, np.int32, endpoint=True)


def jitter_colors(
    colors: UInt8[np.ndarray, "n 3"], params: ColorJitterParams, rng: np.random.Generator
) -> UInt8[np.ndarray, "n 3"]:
    """Contrast, a shift of each channel, and noise; rounded and cut to 0..255."""
    values = colors.astype(np.float32)
    if rng.random() < params.contrast:
        low, high = values.min(axis=0), values.max(axis=0)
        stretched = (values - low) * (np.float32(255) / np.maximum(high - low, 1))
        values += np.float32(rng.random()) * (stretched - values)
    if rng.random() < params.probability:
        values += (255 * params.shift * rng.uniform(-1, 1, 3)).astype(np.float32)
    if params.noise and rng.random() < params.probability:
        values += np.float32(255 * params.noise) * rng.standard_normal(values.shape, np.float32)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
