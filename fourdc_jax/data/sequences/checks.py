"""Section 3.3's constraints, recomputed from a sequence's file alone.

A file does not hold the points that no frame kept, so some checks are bounds that every right
sequence meets, however those points lay.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64

from fourdc_jax.data.sequences.floor_map import estimate_floor, find_holes
from fourdc_jax.data.sequences.sequence import SequenceParams

METRES = 1e-3  # single precision and the decimals of angles
FLOOR_SLACK = 0.02  # metres: the floor is estimated again, from the points that frames kept


def check_sequence(arrays: Mapping[str, np.ndarray], params: SequenceParams) -> list[str]:
    """One sentence for each constraint that a sequence breaks; empty where it breaks none.

    Args:
      arrays: contents of a file that `save_sequence` wrote.
    """
    num_scene = int(arrays["num_scene_points"])
    num_object = int(arrays["num_object_points"])
    problems = check_counts(arrays, params, num_scene, num_object)
    if problems:
        return problems
    scene = scene_points(arrays, params.num_frames, num_scene)
    problems += check_frames(arrays, scene, params, num_scene)
    problems += check_presence(arrays, params, num_scene, num_object)
    if num_object:
        poses = arrays["poses"].astype(np.float64)
        problems += check_poses(poses, params)
        problems += check_floor(poses, arrays["object_points"].astype(np.float64), scene, params)
    return problems


def check_counts(
    arrays: Mapping[str, np.ndarray], params: SequenceParams, num_scene: int, num_object: int
) -> list[str]:
    """Shapes and types of the arrays, and the ranges of the ids."""
    problems = []
    expected = params.num_object_points if params.with_object else 0
    if num_object != expected or arrays["object_points"].shape != (num_object, 3):
        problems.append(f"{num_object} object points instead of {expected}")
    if arrays["poses"].shape != (params.num_frames, 4, 4):
        problems.append(f"poses of shape {arrays['poses'].shape} for {params.num_frames} frames")
    for frame in range(params.num_frames):
        points, ids = arrays[f"points_{frame}"], arrays[f"ids_{frame}"]
        if points.shape != (len(ids), 3) or points.dtype != np.float32 or ids.dtype != np.int32:
            problems.append(f"frame {frame}: points {points.shape} {points.dtype}, ids {ids.dtype}")
        elif len(np.unique(ids)) < len(ids) or ids.min() < 0 or ids.max() >= num_scene + num_object:
            problems.append(f"frame {frame}: an id is repeated or out of range")
        elif not np.isfinite(points).all():
            problems.append(f"frame {frame}: a coordinate is not finite")
    return problems


def scene_points(
    arrays: Mapping[str, np.ndarray], num_frames: int, num_scene: int
) -> Float64[np.ndarray, "n 3"]:
    """The scan's points by id, NaN where no frame holds one."""
    scene = np.full((num_scene, 3), np.nan)
    for frame in range(num_frames):
        points, ids = arrays[f"points_{frame}"], arrays[f"ids_{frame}"]
        scene[ids[ids < num_scene]] = points[ids < num_scene]
    return scene


def check_frames(
    arrays: Mapping[str, np.ndarray],
    scene: Float64[np.ndarray, "n 3"],
    params: SequenceParams,
    num_scene: int,
) -> list[str]:
    """A scan point never moves, an object point moves with its pose, frames hold other points."""
    problems = []
    for frame in range(params.num_frames):
        points, ids = arrays[f"points_{frame}"].astype(np.float64), arrays[f"ids_{frame}"]
        own = ids < num_scene
        if not np.array_equal(points[own], scene[ids[own]]):
            problems.append(f"frame {frame}: a point of the scan has moved")
        pose = arrays["poses"][frame].astype(np.float64)
        moved = arrays["object_points"][ids[~own] - num_scene] @ pose[:3, :3].T + pose[:3, 3]
        if np.abs(moved - points[~own]).max(initial=0) > METRES:
            problems.append(f"frame {frame}: a point of the object is not where its pose puts it")
        if frame and np.array_equal(np.sort(ids), np.sort(arrays["ids_0"])):
            problems.append(f"frame {frame} holds the same points as frame 0")
    seen = scene[np.isfinite(scene[:, 0])]
    voxels = np.floor(seen / params.scene_voxel).astype(np.int64)
    if len(np.unique(voxels, axis=0)) < len(voxels):
        problems.append(f"two scan points share a voxel of {params.scene_voxel} m")
    return problems


def check_presence(
    arrays: Mapping[str, np.ndarray], params: SequenceParams, num_scene: int, num_object: int
) -> list[str]:
    """Shares of the points that are in all frames, and in each frame."""
    problems = []
    presence = np.zeros((params.num_frames, num_scene + num_object), bool)
    for frame in range(params.num_frames):
        presence[frame, arrays[f"ids_{frame}"]] = True
    in_all = presence.all(axis=0)
    bounds = params.presence
    if in_all[:num_scene].mean() < bounds.min_scene:
        problems.append(f"{in_all[:num_scene].mean():.1%} of the scan is in all frames")
    if num_object and in_all[num_scene:].mean() < bounds.min_object:
        problems.append(f"{in_all[num_scene:].mean():.1%} of the object is in all frames")
    if presence.mean(axis=1).min() < bounds.min_frame:
        problems.append(f"a frame keeps {presence.mean(axis=1).min():.1%} of the points")
    return problems


def check_poses(poses: Float64[np.ndarray, "t 4 4"], params: SequenceParams) -> list[str]:
    """Rigid and upright, steps and turns in their bounds, facing the direction of motion."""
    problems = []
    rotation = poses[:, :3, :3]
    identity = rotation @ rotation.transpose(0, 2, 1) - np.eye(3)
    if np.abs(identity).max() > METRES or np.linalg.det(rotation).min() < 0:
        problems.append("a pose is not rigid")
    if np.abs(rotation[:, 2] - [0, 0, 1]).max() > METRES or (poses[:, 3] != [0, 0, 0, 1]).any():
        problems.append("a pose is not upright")
    bounds = params.trajectory
    steps = np.diff(poses[:, :2, 3], axis=0)  # [t-1, 2]
    lengths = np.hypot(*steps.T)
    slack = bounds.snap_tolerance * params.floor_map.voxel
    if lengths.min() < bounds.step[0] - slack - METRES:
        problems.append(f"a step of {lengths.min():.3f} m")
    if lengths.max() > bounds.step[1] + slack + METRES:
        problems.append(f"a step of {lengths.max():.3f} m")
    headings = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    turns = np.abs((np.diff(headings) + np.pi) % (2 * np.pi) - np.pi)
    allowed = np.deg2rad(bounds.max_turn) + np.arctan2(slack, lengths[1:])
    if (turns > allowed + METRES).any():
        problems.append(f"a turn of {np.rad2deg(turns.max()):.1f} degrees")
    motion = np.concatenate([steps[:1], steps]) / np.concatenate([lengths[:1], lengths])[:, None]
    if np.abs(rotation[:, :2, 0] - motion).max() > METRES:
        problems.append("the object does not face its direction of motion")
    return problems


def check_floor(
    poses: Float64[np.ndarray, "t 4 4"],
    object_points: Float64[np.ndarray, "p 3"],
    scene: Float64[np.ndarray, "n 3"],
    params: SequenceParams,
) -> list[str]:
    """The bounding sphere, seen from above, covers valid cells only; the object is on the floor.

    The vertical grid in which voxels were counted is not in the file; whatever it is, the points
    of one voxel span at most its side.
    """
    bounds = params.floor_map
    seen = scene[np.isfinite(scene[:, 0])]
    cells = np.floor(seen[:, :2] / bounds.voxel).astype(np.int64)
    radius = np.sqrt(np.square(object_points).sum(axis=1).max())
    reached = np.floor((poses[:, None, :2, 3] + [[-radius], [radius]]) / bounds.voxel)  # [t, 2, 2]
    extremes = np.concatenate([cells, reached.reshape(-1, 2).astype(np.int64)])
    origin = extremes.min(axis=0) - 1  # an empty cell around the scan and the object
    shape = tuple(extremes.max(axis=0) - origin + 2)
    lowest, top = np.full(shape, np.inf), np.full(shape, -np.inf)
    np.minimum.at(lowest, tuple((cells - origin).T), seen[:, 2])
    np.maximum.at(top, tuple((cells - origin).T), seen[:, 2])
    occupied = np.isfinite(top)
    holes = find_holes(~occupied, round(bounds.max_hole / bounds.voxel**2), floor=occupied)
    outside = ~occupied & ~holes
    numbers = np.ravel_multi_index(tuple((cells - origin).T), shape)
    floor = estimate_floor(numbers, seen[:, 2], bounds.voxel)
    corners = (np.argwhere(np.ones(shape, bool)) + origin) * bounds.voxel
    problems = []
    for frame, pose in enumerate(poses):
        center = pose[:2, 3]
        nearest = np.clip(center, corners, corners + bounds.voxel)
        covered = np.square(nearest - center).sum(axis=1) < max(radius - METRES, 0) ** 2
        covered = covered.reshape(shape)
        bare = covered & occupied
        span = (top[bare] - lowest[bare]).max(initial=0)
        if span > bounds.max_accumulation * bounds.voxel + METRES:
            problems.append(f"frame {frame}: points under the object span {span:.2f} m")
        distance = np.abs(top[bare] - floor).max(initial=0)
        if distance > bounds.floor_band + FLOOR_SLACK:
            problems.append(f"frame {frame}: a covered cell ends {distance:.2f} m from the floor")
        reach = radius + bounds.voxel + params.scene_voxel
        if (covered & outside).sum() > count_unseen(scene, center[0] - reach, center[0] + reach):
            problems.append(f"frame {frame}: the bounding sphere leaves the scan")
        lift = pose[2, 3] + object_points[:, 2].min() - floor
        if abs(lift) > bounds.floor_band + FLOOR_SLACK:
            problems.append(f"frame {frame}: the object stands {lift:.2f} m from the floor")
    return problems


def count_unseen(scene: Float64[np.ndarray, "n 3"], low: float, high: float) -> int:
    """Points with x from `low` to `high` that no frame holds.

    Scan points are numbered in the order of their voxels, x first, so the numbers of the points
    that are known tell x of the others.
    """
    known = np.isfinite(scene[:, 0])
    x = np.interp(np.flatnonzero(~known), np.flatnonzero(known), scene[known, 0])
    return int(((x >= low) & (x <= high)).sum())
