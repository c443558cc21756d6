"""From a sequence to voxels and tracks, and from several to one batch of static shape."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int32

from fourdc_jax.data.geometry import transform_points
from fourdc_jax.data.grids.voxelization import (
    Packing,
    choose_packing,
    count_coarse_rows,
    quantize,
    unique_keys,
)
from fourdc_jax.data.sequences.sequence import Sequence
from fourdc_jax.data.sequences.tracks import sample_tracks

PAD_COORDINATE = -(2**30)  # no query matches it; the same value as kernels.PAD_COORDINATE


@dataclass(frozen=True)
class VoxelParams:
    """Resolution of the two grids and number of tracks.

    voxel_3d, voxel_4d: voxel sides in metres of the 3D frames and of the 4D sequence.
    strides: spatial strides of the networks' levels after the first, as in (2, 4, 8, 16).
    stride_time: whether the 4D network's levels stride time as well.
    num_tracks: tracks sampled from a sequence.
    object_share: part of them on the object; None in proportion to the points.
    """

    voxel_3d: float
    voxel_4d: float
    strides: tuple[int, ...]
    stride_time: bool
    num_tracks: int
    object_share: float | None


@dataclass(frozen=True)
class Capacity:
    """Rows at every level of the 3D and the 4D network, the finest first."""

    rows_3d: tuple[int, ...]
    rows_4d: tuple[int, ...]

    def times(self, count: int) -> "Capacity":
        """The capacity of `count` such sequences together."""
        return Capacity(
            tuple(count * rows for rows in self.rows_3d),
            tuple(count * rows for rows in self.rows_4d),
        )

    def holds(self, needed: "Capacity") -> bool:
        """Whether every level has at least as many rows as needed."""
        return all(
            need <= rows
            for need, rows in zip(needed.rows_3d + needed.rows_4d, self.rows_3d + self.rows_4d)
        )


@dataclass(frozen=True)
class Sample:
    """One voxelised sequence. Rows of the tracks count from this sample's first voxel.

    `coords_3d` is (frame, x, y, z), `coords_4d` (x, y, z, frame); both are unique and sorted.
    `needed` are the rows that the networks' levels have for it.
    """

    coords_3d: Int32[np.ndarray, "v3 4"]
    coords_4d: Int32[np.ndarray, "v4 4"]
    tracks_3d: Int32[np.ndarray, "m t"]
    tracks_4d: Int32[np.ndarray, "m t"]
    needed: Capacity


class SampleTooLarge(ValueError):
    """A sample needs more rows than the capacity holds."""


def make_sample(
    sequence: Sequence,
    transforms: Float64[np.ndarray, "t 4 4"],
    params: VoxelParams,
    rng: np.random.Generator,
) -> Sample:
    """Voxelises the moved 3D frames and the unmoved sequence, and samples the tracks.

    `transforms` move the 3D frames only.
    """
    coords_3d, table_3d, needed_3d = voxelize_frames(sequence, transforms, params)
    coords_4d, table_4d, needed_4d = voxelize_sequence(sequence, params)
    tracks_3d, tracks_4d = sample_tracks(
        table_3d,
        table_4d,
        len(sequence.scene_points),
        params.num_tracks,
        params.object_share,
        rng,
    )
    needed = Capacity(needed_3d, needed_4d)
    return Sample(coords_3d, coords_4d, tracks_3d, tracks_4d, needed)


def voxelize_frames(
    sequence: Sequence, transforms: Float64[np.ndarray, "t 4 4"], params: VoxelParams
) -> tuple[Int32[np.ndarray, "v 4"], Int32[np.ndarray, "n t"], tuple[int, ...]]:
    """Voxels of all frames, each moved by its transform.

    Returns (frame, x, y, z) of the voxels, the row of each point id in each frame (-1 where the
    frame does not hold it), and the rows of every level.
    """
    strides = tuple((s, s, s) for s in params.strides)
    table = np.full((sequence.num_points, sequence.num_frames), -1, np.int32)
    parts, needed = [], []
    num_rows = 0
    for frame, transform in enumerate(transforms):
        points, ids = sequence.frame(frame)
        columns = quantize(transform_points(points, transform), params.voxel_3d)
        packing = choose_packing(columns, strides[-1])
        keys, rows = unique_keys(packing.pack(columns), sum(packing.bits))
        table[ids, frame] = rows + np.int32(num_rows)
        part = np.empty((len(keys), 4), np.int32)
        part[:, 0], part[:, 1:] = frame, packing.unpack(keys)
        parts.append(part)
        needed.append((len(keys), *count_coarse_rows(keys, packing, strides)))
        num_rows += len(keys)
    return np.concatenate(parts), table, tuple(int(rows) for rows in np.sum(needed, axis=0))


def voxelize_sequence(
    sequence: Sequence, params: VoxelParams
) -> tuple[Int32[np.ndarray, "v 4"], Int32[np.ndarray, "n t"], tuple[int, ...]]:
    """Voxels of the sequence in space and time.

    Returns (x, y, z, frame) of the voxels, the row of each point id in each frame (-1 where the
    frame does not hold it), and the rows of every level. A scan point does not move, so its place
    is found once and not for each frame; only the object is placed again.
    """
    num_frames, num_scene = sequence.num_frames, len(sequence.scene_points)
    num_object = len(sequence.object_points)
    strides = tuple((s, s, s, s if params.stride_time else 1) for s in params.strides)
    moved = [sequence.object_in_frame(frame) for frame in range(num_frames)]
    columns = quantize(np.concatenate([sequence.scene_points, *moved]), params.voxel_4d)
    packing = choose_packing(columns, strides[-1][:3])
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
    coords = np.empty((len(place), 4), np.int32)
    coords[:, :3], coords[:, 3] = packing.unpack(places[place]), frame
    time_bits = max(num_frames - 1, strides[-1][3] - 1).bit_length()
    packing = Packing((*packing.low, 0), (*packing.bits, time_bits))
    keys = (places[place] << time_bits) + frame
    return coords, table, (len(keys), *count_coarse_rows(keys, packing, strides))


def crop_sequence(sequence: Sequence, keep: float) -> Sequence:
    """Keeps the share of the scan's points nearest, seen from above, to where the object moves.

    The same points leave every frame, so that tracks stay whole. A static scene keeps its middle.
    """
    center = sequence.scene_center[:2]
    if len(sequence.object_points):
        center = sequence.poses[:, :2, 3].mean(axis=0)
    distance = np.square(sequence.scene_points[:, :2] - center).sum(axis=1)
    kept = np.zeros(len(distance), bool)
    kept[np.argsort(distance, kind="stable")[: int(keep * len(distance))]] = True
    return replace(sequence, scene_presence=sequence.scene_presence & kept)


def fit_sample(
    sequence: Sequence,
    transforms: Float64[np.ndarray, "t 4 4"],
    params: VoxelParams,
    capacity: Capacity,
    crop: bool,
    track_seed: list[int],
) -> tuple[Sample, float]:
    """A sample that fits the capacity, and the share of the scan that it holds (1: not cropped).

    Raises:
      SampleTooLarge: the sample does not fit and may not be cropped, or the object alone is
        more than the capacity holds.
    """
    keep = 1.0
    sample = make_sample(sequence, transforms, params, np.random.default_rng(track_seed))
    while not capacity.holds(sample.needed):
        needed = sample.needed.rows_3d + sample.needed.rows_4d
        if not crop or keep < 1e-3:
            raise SampleTooLarge(
                f"a sequence of scan {sequence.scan!r} and shape {sequence.shape!r} needs "
                f"{sample.needed.rows_3d} rows in 3D and {sample.needed.rows_4d} in 4D, the "
                f"capacity is {capacity.rows_3d} and {capacity.rows_4d}: raise the capacity, or "
                "let samples be cropped"
            )
        ratio = min(r / n for r, n in zip(capacity.rows_3d + capacity.rows_4d, needed) if n)
        keep *= min(0.95, ratio)  # rows grow slower than points, so the ratio falls short at most
        cropped = crop_sequence(sequence, keep)
        sample = make_sample(cropped, transforms, params, np.random.default_rng(track_seed))
    return sample, keep


def collate(samples: list[Sample], capacity: Capacity, in_channels: int) -> dict[str, np.ndarray]:
    """Joins samples into one batch, padded to the capacity of all of them together.

    Keys, shapes and padding are those of the pre-training batch: `coords_3d` [n3, 4] with
    (sequence * t + frame, x, y, z), `coords_4d` [n4, 5] with (sequence, x, y, z, frame), their
    `num_rows_*` and constant `features_*`, and `tracks_*` [b, m, t] with rows of the batch. The
    capacity is that of one sample; every sample has its share, so samples that fit one by one
    fit together.
    """
    total = capacity.times(len(samples))
    num_frames = samples[0].tracks_3d.shape[1]
    coords_3d = [offset_column(s.coords_3d, i * num_frames) for i, s in enumerate(samples)]
    coords_4d = [np.insert(s.coords_4d, 0, i, axis=1) for i, s in enumerate(samples)]
    tracks_3d, tracks_4d = [s.tracks_3d for s in samples], [s.tracks_4d for s in samples]
    return {
        **pad_grid("3d", coords_3d, tracks_3d, total.rows_3d[0], in_channels),
        **pad_grid("4d", coords_4d, tracks_4d, total.rows_4d[0], in_channels),
    }


def offset_column(coords: Int32[np.ndarray, "v d"], offset: int) -> Int32[np.ndarray, "v d"]:
    """Coordinates with `offset` added to their first column, the batch index."""
    shifted = coords.copy()
    shifted[:, 0] += offset
    return shifted


def pad_grid(
    name: str,
    coords: list[Int32[np.ndarray, "_ d"]],
    tracks: list[Int32[np.ndarray, "m t"]],
    capacity: int,
    in_channels: int,
) -> dict[str, np.ndarray]:
    """One grid's part of a batch: joined coordinates, padded, with the rows of the tracks."""
    starts = np.cumsum([0] + [len(own) for own in coords]).astype(np.int32)
    num_rows = int(starts[-1])
    padded = np.full((capacity, coords[0].shape[1]), PAD_COORDINATE, np.int32)
    np.concatenate(coords, out=padded[:num_rows])
    features = np.zeros((capacity, in_channels), np.float32)
    features[:num_rows] = 1
    joined = [np.where(own >= 0, own + start, own) for own, start in zip(tracks, starts)]
    return {
        f"coords_{name}": padded,
        f"num_rows_{name}": np.array(num_rows, np.int32),
        f"features_{name}": features,
        f"tracks_{name}": np.stack(joined),  # [b, m, t]
    }
