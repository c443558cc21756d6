"""4D sequences: a synthetic object that moves through a static scan (section 3.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32

from fourdc_jax.data.geometry import transform_points
from fourdc_jax.data.grids.voxelization import reduce_to_voxels
from fourdc_jax.data.scan import Scan, check_points
from fourdc_jax.data.sequences.augmentation import (
    Background,
    NotEnoughPoints,
    PresenceParams,
    draw_presence,
    index_background,
)
from fourdc_jax.data.sequences.floor_map import FloorMap, FloorMapParams, build_floor_map
from fourdc_jax.data.sequences.object_size import MetricObject, SizeRange, draw_metric_object
from fourdc_jax.data.sequences.trajectories import (
    NoTrajectory,
    Trajectory,
    TrajectoryParams,
    draw_trajectory,
)
from fourdc_jax.data.shape import Shape


@dataclass(frozen=True)
class SequenceParams:
    """Everything that section 3.3 and the experimental setup say about a sequence.

    scene_voxel: the scan is reduced to one point in each voxel of this side (metres).
    max_extent: a scan wider than this (metres) is refused: its unit is another one.
    num_object_points: points sampled from the object.
    with_object: False keeps the scene static (Table 6, "3D data").
    """

    num_frames: int
    scene_voxel: float
    max_extent: float
    num_object_points: int
    with_object: bool
    floor_map: FloorMapParams
    trajectory: TrajectoryParams
    presence: PresenceParams
    sizes: Mapping[str, SizeRange]


@dataclass(frozen=True)
class PreparedScan:
    """A scan at the scene's resolution with its floor map: what all its sequences share.

    The points are sorted by voxel, x first.
    """

    name: str
    points: Float32[np.ndarray, "n 3"]
    background: Background
    floor_map: FloorMap


@dataclass(frozen=True)
class Sequence:
    """One 4D sequence before any augmentation of its 3D frames.

    Point ids: 0 .. n-1 are `scene_points`, n .. n+p-1 `object_points` (metres, object frame:
    origin at the centre of the bounding sphere, front along +x). `poses` are rigid, object to
    scene. `scene_center` is the middle of the scan's bounding box. `discarded` counts the draws
    that kept too few points.
    """

    scan: str
    shape: str
    seed: int
    scene_points: Float32[np.ndarray, "n 3"]
    scene_center: Float64[np.ndarray, "3"]
    object_points: Float32[np.ndarray, "p 3"]
    poses: Float32[np.ndarray, "t 4 4"]
    scene_presence: Bool[np.ndarray, "t n"]
    object_presence: Bool[np.ndarray, "t p"]
    discarded: int

    @property
    def num_frames(self) -> int:
        return len(self.poses)

    @property
    def num_points(self) -> int:
        """Number of point ids."""
        return len(self.scene_points) + len(self.object_points)

    def object_in_frame(self, index: int) -> Float32[np.ndarray, "p 3"]:
        """All points of the object where it is in a frame, in the scene's coordinates."""
        return transform_points(self.object_points, self.poses[index].astype(np.float64))

    def frame(self, index: int) -> tuple[Float32[np.ndarray, "f 3"], Int32[np.ndarray, "f"]]:
        """Points of a frame in the scene's coordinates, and their ids, ascending."""
        scene = np.flatnonzero(self.scene_presence[index])
        thing = np.flatnonzero(self.object_presence[index])
        points = np.concatenate([self.scene_points[scene], self.object_in_frame(index)[thing]])
        return points, np.concatenate([scene, thing + len(self.scene_points)]).astype(np.int32)


def prepare_scan(scan: Scan, params: SequenceParams) -> PreparedScan:
    """Reduces a scan to the scene's resolution and maps where an object can stand.

    Raises:
      ValueError: the scan is empty, not finite, or too large to be in metres.
    """
    check_points(scan)
    extent = max(float(np.ptp(column)) for column in scan.points.T)
    if extent > params.max_extent:
        raise ValueError(
            f"scan {scan.name!r} extends over {extent:.0f} m, more than max_extent "
            f"{params.max_extent:.0f} m: are its points in metres?"
        )
    points = scan.points[reduce_to_voxels(scan.points, params.scene_voxel)]
    return PreparedScan(
        name=scan.name,
        points=points,
        background=index_background(points),
        floor_map=build_floor_map(points, params.floor_map),
    )


def make_sequence(
    scan: PreparedScan, shape: Shape | None, seed: int, epoch: int, params: SequenceParams
) -> Sequence | NoTrajectory | NotEnoughPoints:
    """Moves a shape through a scan, or says why that is not possible.

    The object's size, points and trajectory depend on the seed alone (the paper generates its
    trajectories once); which points the frames hold also depends on the epoch. `shape` is None
    for a static scene.
    """
    object_points = np.zeros((0, 3), np.float32)
    poses = np.tile(np.eye(4, dtype=np.float32), (params.num_frames, 1, 1))
    if shape is not None:
        rng = np.random.default_rng([seed, 0])
        thing = draw_metric_object(shape, params.sizes, rng)
        trajectory = draw_trajectory(
            scan.floor_map, thing.radius, params.num_frames, params.trajectory, rng
        )
        if isinstance(trajectory, NoTrajectory):
            return trajectory
        object_points = sample_points(shape.name, thing, params.num_object_points, rng)
        poses = trajectory_poses(trajectory, thing.bottom)
    presence = draw_presence(
        scan.background,
        len(object_points),
        params.num_frames,
        params.presence,
        np.random.default_rng([seed, 1, epoch]),
    )
    if isinstance(presence, NotEnoughPoints):
        return presence
    return Sequence(
        scan=scan.name,
        shape="" if shape is None else shape.name,
        seed=seed,
        scene_points=scan.points,
        scene_center=scan.background.corner + scan.background.extent / 2,
        object_points=object_points,
        poses=poses,
        scene_presence=presence.scene,
        object_presence=presence.object,
        discarded=presence.discarded,
    )


def sample_points(
    name: str, thing: MetricObject, num_points: int, rng: np.random.Generator
) -> Float32[np.ndarray, "p 3"]:
    """A random sample of an object's points.

    Raises:
      ValueError: the object has fewer points.
    """
    if len(thing.points) < num_points:
        raise ValueError(
            f"shape {name!r} has {len(thing.points)} points, fewer than the {num_points} to sample"
        )
    return thing.points[rng.choice(len(thing.points), num_points, replace=False)]


def trajectory_poses(trajectory: Trajectory, bottom: float) -> Float32[np.ndarray, "t 4 4"]:
    """Rigid poses, object to scene: +x along the heading, the lowest point on the floor below."""
    poses = np.tile(np.eye(4), (len(trajectory.positions), 1, 1))
    cos, sin = np.cos(trajectory.headings), np.sin(trajectory.headings)
    poses[:, 0, 0], poses[:, 0, 1] = cos, -sin
    poses[:, 1, 0], poses[:, 1, 1] = sin, cos
    poses[:, :2, 3] = trajectory.positions
    poses[:, 2, 3] = trajectory.floors - bottom
    return poses.astype(np.float32)


def save_sequence(sequence: Sequence, path: Path) -> None:
    """Writes a sequence as .npz: frames `points_{i}`, `ids_{i}` and how they were made."""
    frames = {}
    for index in range(sequence.num_frames):
        frames[f"points_{index}"], frames[f"ids_{index}"] = sequence.frame(index)
    np.savez(  # coordinates hardly compress, and it takes a second
        path,
        **frames,
        num_scene_points=np.int64(len(sequence.scene_points)),
        num_object_points=np.int64(len(sequence.object_points)),
        poses=sequence.poses,
        object_points=sequence.object_points,
        scan=sequence.scan,
        shape=sequence.shape,
        seed=np.int64(sequence.seed),
    )
