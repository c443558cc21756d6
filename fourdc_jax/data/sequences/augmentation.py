"""What each frame of a sequence holds, and how its 3D version is moved (section 3.3).

The paper removes "cubic chunks" with a size in "proportion of the scene extent" and does not say
more. With "axes", a chunk is a cube in the scan's bounding box scaled to a unit cube: each side is
that part of the box's own side, so that what a chunk removes does not depend on the room's shape.
Measured on a ScanNet scene (the paper's ranges, chunks drawn for each frame, uniform in the box):
one draw in three is kept; with cubes of equal sides, a part of the mean side, one in seven; of the
smallest side, all; of the largest, hardly any.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64

from fourdc_jax.data.geometry import rotation_xyz


@dataclass(frozen=True)
class PresenceParams:
    """Random points and removed chunks; shares are of a sequence's whole point set.

    scene_share, object_share: each frame draws its own random share of the points, itself drawn
      from this range.
    num_chunks: (fewest, most) cubes removed from the background.
    chunk_size: side of a cube as a proportion of the scan's extent, drawn for each cube.
    chunk_extent: which extent: the "smallest", "mean" or "largest" side of the scan's bounding
      box, or "axes" for cuboids in the proportions of the bounding box.
    chunk_centers: uniform in the "box" around the scan, or at random "points" of it.
    chunks_per: whether every "frame" or every "sequence" draws its cubes.
    min_scene, min_object: share of the scan's, of the object's points present in all frames.
    min_frame: share of all points that every frame keeps.
    max_draws: draws before a sequence is given up.
    """

    scene_share: tuple[float, float]
    object_share: tuple[float, float]
    num_chunks: tuple[int, int]
    chunk_size: tuple[float, float]
    chunk_extent: Literal["smallest", "mean", "largest", "axes"]
    chunk_centers: Literal["box", "points"]
    chunks_per: Literal["frame", "sequence"]
    min_scene: float
    min_object: float
    min_frame: float
    max_draws: int


@dataclass(frozen=True)
class Presence:
    """Which points every frame holds, and how many draws were discarded before this one."""

    scene: Bool[np.ndarray, "t n"]
    object: Bool[np.ndarray, "t p"]
    discarded: int


@dataclass(frozen=True)
class NotEnoughPoints:
    """No draw of `max_draws` kept enough points; `reason` says which bounds failed how often."""

    reason: str
    discarded: int


@dataclass(frozen=True)
class FrameTransformParams:
    """Ranges of the random motion of each 3D frame; the 4D sequence is never moved.

    rotation: largest angle about x, y and z in degrees, either way.
    translation: largest shift along x, y and z in metres, either way.
    scale: (smallest, largest) factor.
    """

    rotation: tuple[float, float, float]
    translation: tuple[float, float, float]
    scale: tuple[float, float]


@dataclass(frozen=True)
class Background:
    """A scan's points as rows x, y and z, with what makes removing chunks of them fast.

    `highest_before[i]` is the highest x of the points up to i and `lowest_after[i]` the lowest
    from i on: both ascend, so that bisection finds the slab of points that a chunk can reach.
    Any order of the points is right; sorted by x, the slabs are thin.
    """

    columns: Float32[np.ndarray, "3 n"]
    highest_before: Float32[np.ndarray, "n"]
    lowest_after: Float32[np.ndarray, "n"]
    corner: Float64[np.ndarray, "3"]
    extent: Float64[np.ndarray, "3"]


def index_background(points: Float32[np.ndarray, "n 3"]) -> Background:
    """Prepares a scan's points for removing chunks."""
    columns = np.ascontiguousarray(points.T)
    corner = columns.min(axis=1).astype(np.float64)
    return Background(
        columns=columns,
        highest_before=np.maximum.accumulate(columns[0]),
        lowest_after=np.minimum.accumulate(columns[0, ::-1])[::-1],
        corner=corner,
        extent=columns.max(axis=1) - corner,
    )


def chunk_sides(
    extent: Float64[np.ndarray, "3"], size: float, params: PresenceParams
) -> Float64[np.ndarray, "3"]:
    """Sides of a removed chunk in metres."""
    if params.chunk_extent == "axes":
        return size * extent
    length = {"smallest": extent.min(), "mean": extent.mean(), "largest": extent.max()}
    return np.full(3, size * length[params.chunk_extent])


def draw_background(
    scan: Background, params: PresenceParams, rng: np.random.Generator
) -> Bool[np.ndarray, "n"]:
    """Points of the background that are left after removing random cubes."""
    num_points = scan.columns.shape[1]
    kept = np.ones(num_points, bool)
    for _ in range(rng.integers(params.num_chunks[0], params.num_chunks[1] + 1)):
        if params.chunk_centers == "box":
            center = scan.corner + rng.random(3) * scan.extent
        else:
            center = scan.columns[:, rng.integers(num_points)].astype(np.float64)
        half = chunk_sides(scan.extent, rng.uniform(*params.chunk_size), params) / 2
        low, high = (center - half).astype(np.float32), (center + half).astype(np.float32)
        start = np.searchsorted(scan.highest_before, low[0])
        stop = max(np.searchsorted(scan.lowest_after, high[0], side="right"), start)
        outside = np.zeros(stop - start, bool)
        for column, least, most in zip(scan.columns[:, start:stop], low, high):
            outside |= column < least
            outside |= column > most
        kept[start:stop] &= outside
    return kept


def draw_presence(
    scan: Background,
    num_object_points: int,
    num_frames: int,
    params: PresenceParams,
    rng: np.random.Generator,
) -> Presence | NotEnoughPoints:
    """Masks of the points in every frame, drawn again until enough points are left.

    A draw that keeps too little is a discarded sequence. Nothing but masks exists by then, and a
    draw stops at the first frame that decides it. The trajectory stays, which changes nothing:
    whether a draw is discarded does not depend on where the object is, for chunks are removed
    from the background only.
    """
    failures: dict[str, int] = {}
    for draw in range(params.max_draws):
        masks = draw_masks(scan, num_object_points, num_frames, params, rng)
        if not isinstance(masks, str):
            return Presence(scene=masks[0], object=masks[1], discarded=draw)
        failures[masks] = failures.get(masks, 0) + 1
    reason = "; ".join(f"{what}: {count} draws" for what, count in failures.items())
    return NotEnoughPoints(f"too few points are left ({reason})", params.max_draws)


def draw_masks(
    scan: Background,
    num_object_points: int,
    num_frames: int,
    params: PresenceParams,
    rng: np.random.Generator,
) -> tuple[Bool[np.ndarray, "t n"], Bool[np.ndarray, "t p"]] | str:
    """One draw of the masks, or the bound that it breaks."""
    num_points = scan.columns.shape[1]
    scene = np.empty((num_frames, num_points), bool)
    in_all = np.ones(num_points, bool)
    things = np.empty((num_frames, num_object_points), bool)
    for frame in range(num_frames):
        if frame == 0 or params.chunks_per == "frame":
            background = draw_background(scan, params, rng)
        scene_share = rng.uniform(*params.scene_share)
        object_share = rng.uniform(*params.object_share)
        np.less(rng.random(num_points, np.float32), scene_share, out=scene[frame])
        np.less(rng.random(num_object_points, np.float32), object_share, out=things[frame])
        scene[frame] &= background
        kept = np.count_nonzero(scene[frame]) + np.count_nonzero(things[frame])
        if kept < params.min_frame * (num_points + num_object_points):
            return f"a frame keeps less than {params.min_frame:.0%} of all points"
        in_all &= scene[frame]
        if np.count_nonzero(in_all) < params.min_scene * num_points:
            return f"less than {params.min_scene:.0%} of the scan's points are in all frames"
    if np.count_nonzero(things.all(axis=0)) < params.min_object * num_object_points:
        return f"less than {params.min_object:.0%} of the object's points are in all frames"
    return scene, things


def draw_frame_transforms(
    center: Float64[np.ndarray, "3"],
    num_frames: int,
    params: FrameTransformParams,
    rng: np.random.Generator,
) -> Float64[np.ndarray, "t 4 4"]:
    """Similarity transforms, one for each frame: p -> scale R (p - center) + center + shift.

    R turns about x, then y, then z, each by an angle uniform in its range.
    """
    transforms = np.tile(np.eye(4), (num_frames, 1, 1))
    for transform in transforms:
        angles = np.deg2rad(rng.uniform(-1, 1, 3) * params.rotation)
        linear = rng.uniform(*params.scale) * rotation_xyz(angles)
        shift = rng.uniform(-1, 1, 3) * params.translation
        transform[:3, :3] = linear
        transform[:3, 3] = center + shift - linear @ center
    return transforms
