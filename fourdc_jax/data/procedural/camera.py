"""A simulated depth camera: exact visibility of a quad mesh, then range, noise and holes.

One image is one pass over flat arrays of (quad, pixel) pairs: every front-facing quad is tested
against the rays of its screen rectangle, and the nearest hit of a pixel wins. There is no loop over
quads and no acceleration structure; the cost is that of the covered pixels.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int
from scipy.ndimage import zoom

from fourdc_jax.data.geometry import rotation_about
from fourdc_jax.data.procedural.solids import Mesh


@dataclass(frozen=True)
class CameraParams:
    """A structured-light depth camera in the hand of somebody who walks.

    Attributes:
      width, height: rays an image; a coarse grid of the sensor's pixels.
      field_of_view: horizontal, degrees.
      near, far: range limits in metres; nothing outside is measured.
      noise_floor, noise_slope: standard deviation of the depth at distance z is
        noise_floor + noise_slope * (z - near)^2, in metres (Nguyen et al., 3DIMPVT 2012).
      pose_shift, pose_turn: standard deviation of an image's pose error, metres and degrees.
      warp: standard deviation of the smooth depth distortion, relative to the distance.
      grazing: cosine of the incidence angle below which returns fade out linearly.
      hole_scale: size of the blobs in which weak returns are missing, in pixels.
      exposure: standard deviation of an image's brightness, relative.
      grain: standard deviation of a pixel's brightness, in colour units of [0, 1].
      near_plane: distance below which geometry is not drawn, in metres.
    """

    width: int
    height: int
    field_of_view: float
    near: float
    far: float
    noise_floor: float
    noise_slope: float
    pose_shift: float
    pose_turn: float
    warp: float
    grazing: float
    hole_scale: int
    exposure: float
    grain: float
    near_plane: float


@dataclass(frozen=True)
class Pose:
    """Camera position, and axes right, down, forward as rows."""

    position: Float64[np.ndarray, "3"]
    axes: Float64[np.ndarray, "3 3"]


def look(position: Float64[np.ndarray, "3"], yaw: float, pitch: float) -> Pose:
    """Pose of an upright camera; yaw about z from +x, pitch up, in radians."""
    axes = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
    return Pose(position, axes @ rotation_about("y", pitch) @ rotation_about("z", yaw).T)


def pixel_rays(
    params: CameraParams, rng: np.random.Generator
) -> tuple[Float32[np.ndarray, "hw"], Float32[np.ndarray, "hw"]]:
    """Slopes x/z and y/z of one ray through a random spot of each pixel, row by row."""
    shape = (params.height, params.width)
    focal = focal_length(params)
    column = np.arange(params.width) + rng.random(shape) - 0.5 * params.width
    row = np.arange(params.height)[:, None] + rng.random(shape) - 0.5 * params.height
    return (column / focal).astype(np.float32).ravel(), (row / focal).astype(np.float32).ravel()


def focal_length(params: CameraParams) -> float:
    """In pixels."""
    return 0.5 * params.width / np.tan(0.5 * np.radians(params.field_of_view))


def cast(
    quads: Float32[np.ndarray, "q 4 3"],
    slopes: tuple[Float32[np.ndarray, "hw"], Float32[np.ndarray, "hw"]],
    params: CameraParams,
) -> tuple[Int[np.ndarray, "hw"], Float32[np.ndarray, "hw"]]:
    """Nearest front-facing quad along each ray (-1: none) and its depth.

    `quads` are in camera coordinates (right, down, forward). A ray d hits a convex quad seen from
    its front when it lies on the inner side of the four planes through the camera and an edge,
    (v_i x v_{i+1}) . d <= 0; its depth is (n . v_0) / (n . d). Quads that share an edge compute
    exactly opposite values there, so no ray slips through between them.
    """
    edges = np.cross(quads, np.roll(quads, -1, axis=1))  # [q, 4, 3]
    normals = np.cross(quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1])
    offsets = np.einsum("qi,qi->q", normals, quads[:, 0])
    low, high = screen_rectangles(quads, params)
    size = np.maximum(high - low, 0)
    size[offsets >= 0] = 0  # back faces
    area = size[:, 0] * size[:, 1]
    drawn = np.flatnonzero(area)

    pair = np.repeat(drawn, area[drawn])  # quad of each (quad, pixel) pair
    start = np.cumsum(area[drawn]) - area[drawn]
    within = np.arange(len(pair)) - np.repeat(start, area[drawn])
    row, column = np.divmod(within, np.repeat(size[drawn, 0], area[drawn]))
    pixel = (row + low[pair, 1]) * params.width + column + low[pair, 0]
    x, y = slopes[0][pixel], slopes[1][pixel]
    inside = np.ones(len(pair), bool)
    for edge in range(4):
        ex, ey, ez = edges[:, edge].T
        inside &= ex[pair] * x + ey[pair] * y + ez[pair] <= 0

    pair, pixel, x, y = pair[inside], pixel[inside], x[inside], y[inside]
    nx, ny, nz = normals.T
    depth = offsets[pair] / (nx[pair] * x + ny[pair] * y + nz[pair])
    seen = depth > params.near_plane
    return nearest(depth[seen], pair[seen], pixel[seen], params.width * params.height)


def screen_rectangles(
    quads: Float32[np.ndarray, "q 4 3"], params: CameraParams
) -> tuple[Int[np.ndarray, "q 2"], Int[np.ndarray, "q 2"]]:
    """First and one past the last (column, row) that each quad may cover; empty if out of sight."""
    following = np.roll(quads, -1, axis=1)
    z, z_next = quads[..., 2], following[..., 2]  # [q, 4]
    near = np.float32(params.near_plane)
    crossing = (z > near) != (z_next > near)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(crossing, (near - z) / (z_next - z), 0)[..., None]
    cut = quads + share * (
        following - quads
    )  # [q, 4, 3], on the near plane where an edge crosses it
    corners = np.concatenate([quads, cut], axis=1)  # [q, 8, 3]
    valid = np.concatenate([z > near, crossing], axis=1)
    depth = np.where(valid, np.maximum(corners[..., 2], near), 1)
    screen = corners[..., :2] / depth[..., None] * np.float32(focal_length(params))
    screen += np.array([params.width, params.height], np.float32) / 2
    low = np.where(valid[..., None], screen, np.inf).min(1)
    high = np.where(valid[..., None], screen, -np.inf).max(1)
    too_far = np.where(z > near, z, np.inf).min(1) > params.far
    limit = np.array([params.width, params.height])
    low = np.clip(np.floor(low), 0, limit).astype(np.int64)
    high = np.clip(np.ceil(high), 0, limit).astype(np.int64)
    high[too_far & ~crossing.any(1)] = 0
    return low, high


def nearest(
    depth: Float32[np.ndarray, "p"],
    quad: Int[np.ndarray, "p"],
    pixel: Int[np.ndarray, "p"],
    num_pixels: int,
) -> tuple[Int[np.ndarray, "hw"], Float32[np.ndarray, "hw"]]:
    """Smallest depth of each pixel and its quad; ties go to the lowest quad."""
    # The bits of a positive float sort like the float: depth and quad compare as one integer.
    key = depth.view(np.uint32).astype(np.uint64) << np.uint64(32) | quad.astype(np.uint64)
    best = np.full(num_pixels, np.iinfo(np.uint64).max)
    np.minimum.at(best, pixel, key)
    hit = best != np.iinfo(np.uint64).max
    winner = np.where(hit, (best & np.uint64(0xFFFFFFFF)).astype(np.int64), -1)
    bits = np.where(hit, best >> np.uint64(32), np.uint64(0)).astype(np.uint32)
    return winner, bits.view(np.float32)


def smooth_noise(
    params: CameraParams, cells: int, rng: np.random.Generator
) -> Float[np.ndarray, "hw"]:
    """Standard normal field over the image that varies over `cells` pixels, row by row."""
    coarse = (params.height // cells + 2, params.width // cells + 2)
    field = zoom(rng.standard_normal(coarse), cells, order=1)[: params.height, : params.width]
    return (field / field.std()).ravel()


def observe(
    mesh: Mesh, pose: Pose, params: CameraParams, rng: np.random.Generator
) -> tuple[Float64[np.ndarray, "p 3"], Int[np.ndarray, "p"], Float64[np.ndarray, "p"]]:
    """Points that one depth image measures, in the room's frame; their quads and depth noise.

    The noise is a standard deviation in metres, as a fusion of images would assume it.
    """
    quads = ((mesh.quads - pose.position) @ pose.axes.T).astype(np.float32)
    slopes = pixel_rays(params, rng)
    quad, depth = cast(quads, slopes, params)

    rays = np.stack([*slopes, np.ones_like(depth)], axis=1)  # [hw, 3]
    normals = mesh.unit_normals @ pose.axes.T
    cosine = -np.einsum("pi,pi->p", normals[quad], rays) / np.linalg.norm(rays, axis=1)
    chance = mesh.returns[quad] * np.clip(cosine / params.grazing, 0, 1)
    blobs = smooth_noise(params, params.hole_scale, rng)
    threshold = 0.5 + 0.5 * np.tanh(0.8 * blobs)  # standard normal to nearly uniform in [0, 1]
    measured = (quad >= 0) & (depth >= params.near) & (depth <= params.far) & (threshold < chance)

    quad, depth, rays = quad[measured], depth[measured], rays[measured]
    spread = params.noise_floor + params.noise_slope * (depth.astype(np.float64) - params.near) ** 2
    warp = params.warp * smooth_noise(params, params.width // 4, rng)[measured]
    points = rays * (depth * (1 + warp) + spread * rng.standard_normal(len(depth)))[:, None]
    axes, position = disturbed(pose, params, rng)
    return points @ axes + position, quad, spread


def disturbed(
    pose: Pose, params: CameraParams, rng: np.random.Generator
) -> tuple[Float64[np.ndarray, "3 3"], Float64[np.ndarray, "3"]]:
    """Axes and position of a pose as tracking would estimate them."""
    turn = np.radians(params.pose_turn) * rng.standard_normal(3)
    axes = pose.axes
    for axis, angle in zip("xyz", turn):
        axes = axes @ rotation_about(axis, angle)
    return axes, pose.position + params.pose_shift * rng.standard_normal(3)
