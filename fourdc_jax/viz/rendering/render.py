"""A small software renderer for point clouds: z-buffered splats with eye-dome lighting."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from plyfile import PlyData, PlyElement

from fourdc_jax.viz.rendering.camera import Camera, check_points, cut_away, floor_height
from fourdc_jax.viz.rendering.shading import Surface, ambient_occlusion, voxel_surface

BACKGROUND = (255, 255, 255)
CLAY = np.array([[0.75, 0.73, 0.70], [0.84, 0.815, 0.78], [0.88, 0.86, 0.83]])  # floor to 2 m

NOISE = np.float32(0.004)  # log2 depth: steps below 0.3% are the scanner's, not an edge
RING = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)]  # 8 neighbours


def render_points(
    points: Float[np.ndarray, "n 3"],
    camera: Camera,
    *,
    colors: Float[np.ndarray, "n 3"] | UInt8[np.ndarray, "n 3"] | None = None,
    highlight: Float[np.ndarray, "h 3"] | None = None,
    highlight_colors: Float[np.ndarray, "h 3"] | None = None,
    supersample: int = 2,
    cutaway: bool = True,
    shading: float = 1.0,
) -> UInt8[np.ndarray, "height width 3"]:
    """A picture of the cloud as uint8 RGB.

    Args:
      points: z up, metres.
      camera: from `look_at_room`.
      colors: floats in 0..1 or uint8; None draws unpainted clay, a little lighter with height.
      highlight, highlight_colors: points that are never cut away, drawn in their own colours
        (floats in 0..1).
      supersample: pixels are computed this many times finer a side and averaged.
      cutaway: leave out the ceiling and the walls in front.
      shading: 0 shows plain colours, 1 full light and shadow.
    """
    check_points(points)
    keep = cut_away(points, camera) if cutaway else np.ones(len(points), bool)
    cloud = points[keep]
    paint = height_clay(points)[keep] if colors is None else as_float_colors(colors)[keep]
    if highlight is not None and len(highlight):
        cloud = np.concatenate([cloud, highlight])
        paint = np.concatenate([paint, highlight_colors])
    if len(cloud) < 4:
        raise ValueError(f"only {len(cloud)} points are left to draw after cutting walls away")
    light, normals, spacing = shade(cloud, camera)
    if highlight is not None and len(highlight) >= 4:  # sparser than the scan: by itself
        own = slice(len(cloud) - len(highlight), None)
        light[own], normals[own], spacing[own] = shade(highlight, camera)
    lit = (paint * (1 - shading + shading * light[:, None])).astype(np.float32)
    fine = camera.resized(camera.height * supersample)
    index, depth = splat(cloud, normals, 1.5 * spacing, fine)
    image = np.concatenate([lit, np.array([BACKGROUND], np.float32) / 255])[index]  # -1: last row
    image *= eye_dome(depth, radius=supersample, strength=shading)[..., None]
    image = sum(
        image[i::supersample, j::supersample]
        for i in range(supersample)
        for j in range(supersample)
    )
    return (np.clip(image / supersample**2, 0, 1) * 255 + 0.5).astype(np.uint8)


def splat(
    points: Float[np.ndarray, "n 3"],
    normals: Float[np.ndarray, "n 3"],
    radius: Float[np.ndarray, "n"],
    camera: Camera,
) -> tuple[Int[np.ndarray, "height width"], Float[np.ndarray, "height width"]]:
    """Nearest point of each pixel (-1: none) and its depth in metres (inf: none).

    Every point is a disc of `radius` metres across its normal that recedes a little towards its
    edge, so that neighbouring discs meet half way. Ties go to the lowest index.
    """
    pixels, depth = camera.project(points)
    metres = depth / camera.focal  # per pixel, at each point
    size = np.clip(np.ceil(radius / metres - 0.5), 1, 24).astype(np.int64)
    radius = np.maximum(radius, 0.75 * metres)  # at least the pixel it falls in
    column, row = np.floor(pixels.T).astype(np.int64)
    inside = (np.minimum(column, row) >= size) & (column + size < camera.width)
    inside &= row + size < camera.height
    widest_first = np.argsort(-size, kind="stable")
    order = widest_first[inside[widest_first]]  # so that each offset concerns a leading part
    x, y, z = camera.rotation @ normals.T
    z = np.minimum(z, -0.25)  # seen from the side a disc keeps some width
    disc = np.stack([depth, -x / z * metres, -y / z * metres, metres / radius, radius])
    disc = disc[:, order].astype(np.float32)  # depth, slopes and radii a pixel, radius
    start = row[order] * camera.width + column[order]
    buffer = np.full(camera.height * camera.width, np.iinfo(np.int64).max)
    reach = size[order].max(initial=0)
    wide = [np.count_nonzero(size[order] >= r) for r in range(reach + 1)]
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            count = wide[max(abs(dx), abs(dy))]
            far, slope_x, slope_y, scale, edge = disc[:, :count]
            rise = slope_x * dx + slope_y * dy  # metres behind the disc's centre
            part = scale * scale * (dx * dx + dy * dy) + (rise / edge) ** 2
            drawn = np.flatnonzero(part <= 1)
            reached = (far[drawn] + rise[drawn] + 0.5 * part[drawn] * edge[drawn]).view(np.int32)
            key = (reached.astype(np.int64) << 32) | order[drawn]
            np.minimum.at(buffer, start[drawn] + (dy * camera.width + dx), key)
    shape = (camera.height, camera.width)
    empty = buffer == np.iinfo(np.int64).max
    index = np.where(empty, -1, buffer & 0xFFFFFFFF)
    nearest = (buffer >> 32).astype(np.int32).view(np.float32)
    return index.reshape(shape), np.where(empty, np.float32(np.inf), nearest).reshape(shape)


def eye_dome(
    depth: Float[np.ndarray, "h w"], *, radius: int, strength: float
) -> Float[np.ndarray, "h w"]:
    """Eye-dome lighting (Boucheny 2009): darken pixels that lie behind their neighbours.

    The response is a function of the difference of log2 depths, at two scales.
    """
    seen = np.isfinite(depth)
    background = depth[seen].max() * 1.02 if seen.any() else 1.0
    log_depth = np.log2(np.where(seen, depth, background)).astype(np.float32)
    response = np.zeros_like(log_depth)
    height, width = depth.shape
    for scale, ring in ((radius, RING[:4]), (3 * radius, RING[4:])):
        padded = np.pad(log_depth, scale, mode="edge")
        for dy, dx in ring:
            y, x = scale * (1 + dy), scale * (1 + dx)
            behind = log_depth - padded[y : y + height, x : x + width]
            response += np.clip(behind - NOISE, 0, 0.04)
    return np.where(seen, np.exp(np.float32(-6 * strength) * response), np.float32(1))


def height_clay(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Colours for geometry without colours: warm grey, lighter with height above the floor."""
    height = np.clip((points[:, 2] - floor_height(points)) / 2.0, 0, 1)
    stops = np.linspace(0, 1, len(CLAY))
    return np.stack([np.interp(height, stops, CLAY[:, i]) for i in range(3)], axis=1)


def as_float_colors(colors: np.ndarray) -> Float[np.ndarray, "n 3"]:
    """uint8 colours as floats in 0..1; floats must already be in that range."""
    if colors.dtype == np.uint8:
        return colors / 255.0
    if colors.size and (np.nanmin(colors) < -1e-6 or np.nanmax(colors) > 1 + 1e-6):
        raise ValueError(
            f"colours are floats in 0..1 or uint8, got floats from {np.nanmin(colors):.3g} to "
            f"{np.nanmax(colors):.3g}"
        )
    return np.asarray(colors, np.float64)


def write_ply(
    path: str | Path,
    points: Float[np.ndarray, "n 3"],
    colors: Float[np.ndarray, "n 3"] | UInt8[np.ndarray, "n 3"],
) -> None:
    """Write a coloured cloud as binary .ply, to be opened in MeshLab or CloudCompare."""
    check_points(points)
    channels = ("red", "green", "blue")
    fields = [*((axis, "f4") for axis in "xyz"), *((channel, "u1") for channel in channels)]
    vertex = np.empty(len(points), fields)
    paint = (as_float_colors(colors) * 255 + 0.5).astype(np.uint8)
    for i in range(3):
        vertex["xyz"[i]] = points[:, i]
        vertex[channels[i]] = paint[:, i]
    PlyData([PlyElement.describe(vertex, "vertex")]).write(str(path))


def shade(
    points: Float[np.ndarray, "n 3"], camera: Camera
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n 3"], Float[np.ndarray, "n"]]:
    """Brightness, normal towards the camera and distance to neighbours (metres) of each point."""
    surface = voxel_surface(points)
    away = ((surface.centres - camera.eye) * surface.normals).sum(1) > 0
    normals = np.where(away[:, None], -surface.normals, surface.normals)
    spacing = np.clip(surface.spacing, 0.3 * np.median(surface.spacing), 0.06)
    light = brightness(surface, normals, camera)
    return light[surface.index], normals[surface.index], spacing[surface.index]


def brightness(
    surface: Surface, normals: Float[np.ndarray, "v 3"], camera: Camera
) -> Float[np.ndarray, "v"]:
    """Sky light with ambient occlusion, and a lamp over the camera's left shoulder."""
    right, _, forward = camera.rotation
    lamp = np.array([0.0, 0.0, 0.8]) - 0.55 * right - 0.3 * forward * [1, 1, 0]
    key = np.maximum(normals @ (lamp / np.linalg.norm(lamp)), 0)
    light = (0.3 + 0.7 * ambient_occlusion(surface, normals)) * (0.7 + 0.3 * key)
    return surface.smooth(np.minimum(light / np.percentile(light, 70), 1.06))
