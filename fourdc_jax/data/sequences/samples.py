"""From a sequence to what the two networks see of it: voxels, and tracks through them."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int32

from fourdc_jax.data.geometry import transform_points
from fourdc_jax.data.grids.capacity import Rows
from fourdc_jax.data.grids.grid import Grid, make_grid
from fourdc_jax.data.grids.voxelization import (
    LevelStrides,
    Packing,
    choose_packing,
    coarsest,
    count_coarse_rows,
    find_voxels,
    quantize,
    unique_keys,
)
from fourdc_jax.data.sequences.sampling import Report
from fourdc_jax.data.sequences.sequence import Sequence
from fourdc_jax.data.sequences.tracks import sample_tracks


@dataclass(frozen=True)
class VoxelParams:
    """Resolution of the two grids and number of tracks.

    voxel_3d, voxel_4d: voxel sides in metres of the 3D frames and of the 4D sequence.
    stride_time: whether the 4D network's levels stride time as well.
    num_tracks: tracks sampled from a sequence.
    object_share: part of them on the object; None in proportion to the points.
    """

    voxel_3d: float
    voxel_4d: float
    stride_time: bool
    num_tracks: int
    object_share: float | None


@dataclass(frozen=True)
class NetworkInputs:
    """What the two networks want of the data.

    strides_3d, strides_4d: of their levels after the first: x, y, z, and for 4D time.
    in_channels: features of a voxel, all of them 1: only geometry is seen.
    """

    strides_3d: LevelStrides
    strides_4d: LevelStrides
    in_channels: int


class View(NamedTuple):
    """How one network sees a sequence, or a batch of them.

    Attributes:
      grid: the voxels. For the 3D network (frame, x, y, z), each frame a batch item; for the 4D
        network (sequence, x, y, z, frame).
      tracks: the row of each track in each frame, -1 where it is absent; [b, m, t] in a batch.
    """

    grid: Grid
    tracks: Int32[np.ndarray, "m t"]


@dataclass(frozen=True)
class Sample:
    """One voxelised sequence, with what it can be made of again from fewer points.

    Attributes:
      frames, sequence: what the 3D and the 4D network see.
      source: before voxelisation, and before any cropping.
      epoch: of the sample; with the source's seed it decides all that is random here.
      report: how it came about.
    """

    frames: View
    sequence: View
    source: Sequence
    epoch: int
    report: Report

    @property
    def size(self) -> int:
        """Points of the scan, which is what cropping takes from."""
        return len(self.source.scene_points)

    @property
    def needed(self) -> Rows:
        """Rows at the levels of the 3D network, then of the 4D network."""
        return (*self.frames.grid.needed.tolist(), *self.sequence.grid.needed.tolist())


def make_views(
    sequence: Sequence,
    transforms: Float64[np.ndarray, "t 4 4"],
    params: VoxelParams,
    inputs: NetworkInputs,
    rng: np.random.Generator,
) -> tuple[View, View]:
    """Voxelises the moved 3D frames and the unmoved sequence, and samples the tracks.

    `transforms` move the 3D frames only.
    """
    coords_3d, table_3d, needed_3d = voxelize_frames(
        sequence, transforms, params.voxel_3d, inputs.strides_3d
    )
    coords_4d, table_4d, needed_4d = voxelize_sequence(sequence, params.voxel_4d, inputs.strides_4d)
    tracks_3d, tracks_4d = sample_tracks(
        table_3d,
        table_4d,
        len(sequence.scene_points),
        params.num_tracks,
        params.object_share,
        rng,
    )

    def see(
        coords: Int32[np.ndarray, "v _"], needed: Rows, tracks: Int32[np.ndarray, "m t"]
    ) -> View:
        features = np.ones((len(coords), inputs.in_channels), np.float32)
        return View(make_grid(coords, features, needed), tracks)

    return see(coords_3d, needed_3d, tracks_3d), see(coords_4d, needed_4d, tracks_4d)


def voxelize_frames(
    sequence: Sequence,
    transforms: Float64[np.ndarray, "t 4 4"],
    voxel: float,
    strides: LevelStrides,
) -> tuple[Int32[np.ndarray, "v 4"], Int32[np.ndarray, "n t"], Rows]:
    """Voxels of all frames, each moved by its transform.

    Returns (frame, x, y, z) of the voxels, the row of each point id in each frame (-1 where the
    frame does not hold it), and the rows of every level.
    """
    table = np.full((sequence.num_points, sequence.num_frames), -1, np.int32)
    parts, needed = [], []
    num_rows = 0
    for frame, transform in enumerate(transforms):
        points, ids = sequence.frame(frame)
        voxels = find_voxels(quantize(transform_points(points, transform), voxel), strides)
        table[ids, frame] = voxels.rows + np.int32(num_rows)
        part = np.empty((len(voxels.coords), 4), np.int32)
        part[:, 0], part[:, 1:] = frame, voxels.coords
        parts.append(part)
        needed.append(voxels.needed)
        num_rows += len(part)
    return np.concatenate(parts), table, tuple(int(rows) for rows in np.sum(needed, axis=0))


def voxelize_sequence(
    sequence: Sequence, voxel: float, strides: LevelStrides
) -> tuple[Int32[np.ndarray, "v 5"], Int32[np.ndarray, "n t"], Rows]:
    """Voxels of the sequence in space and time.

    Returns (0, x, y, z, frame) of the voxels, the row of each point id in each frame (-1 where the
    frame does not hold it), and the rows of every level. A scan point does not move, so its place
    is found once and not for each frame; only the object is placed again.
    """
    num_frames, num_scene = sequence.num_frames, len(sequence.scene_points)
    num_object = len(sequence.object_points)
    last = coarsest(strides, 4)
    moved = [sequence.object_in_frame(frame) for frame in range(num_frames)]
    columns = quantize(np.concatenate([sequence.scene_points, *moved]), voxel)
    packing = choose_packing(columns, last[:3])
    places, place_of = unique_keys(packing.pack(columns), sum(packing.bits))

    table = np.empty((sequence.num_points, num_frames), np.int32)  # place, then row, of each id
    table[:num_scene] = place_of[:num_scene, None]
    table[num_scene:] = place_of[num_scene:].reshape(num_frames, num_object).T
    present = np.concatenate([sequence.scene_presence, sequence.object_presence], axis=1).T
    occupied = np.zeros((len(places), num_frames), bool)
    for frame in range(num_frames):
        occupied[table[present[:, frame], frame], frame] = True
    row_of = np.cumsum(occupied, dtype=np.int32).reshape(occupied.shape) - np.int32(1)
    table = np.where(present, row_of[table, np.arange(num_frames)], np.int32(-1))

    place, frame = np.nonzero(occupied)  # by place, then by frame: lexicographic
    coords = np.empty((len(place), 5), np.int32)
    coords[:, 0], coords[:, 1:4], coords[:, 4] = 0, packing.unpack(places[place]), frame
    time_bits = max(num_frames - 1, last[3] - 1).bit_length()
    packing = Packing((*packing.low, 0), (*packing.bits, time_bits))
    keys = (places[place] << time_bits) + frame
    return coords, table, (len(keys), *count_coarse_rows(keys, packing, strides))


def crop_sequence(sequence: Sequence, num_points: int) -> Sequence:
    """Keeps the points of the scan nearest, seen from above, to where the object moves.

    The same points leave every frame, so that tracks stay whole. A static scene keeps its middle.
    """
    center = sequence.scene_center[:2]
    if len(sequence.object_points):
        center = sequence.poses[:, :2, 3].mean(axis=0)
    distance = np.square(sequence.scene_points[:, :2] - center).sum(axis=1)
    kept = np.zeros(len(distance), bool)
    kept[np.argsort(distance, kind="stable")[:num_points]] = True
    return replace(sequence, scene_presence=sequence.scene_presence & kept)
