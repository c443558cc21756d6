import dataclasses

import numpy as np
import pytest

from fourdc_jax.data.geometry import transform_points as move
from fourdc_jax.data.sequences.augmentation import FrameTransformParams, draw_frame_transforms
from fourdc_jax.data.sequences.batches import (
    PAD_COORDINATE,
    Capacity,
    SampleTooLarge,
    VoxelParams,
    collate,
    crop_sequence,
    fit_sample,
    make_sample,
)
from fourdc_jax.data.sequences.sequence import make_sequence
from fourdc_jax.params import read_params

CENTER = np.array([0.5, 3.5, 1.0])


@pytest.fixture(scope="module")
def voxels(data_values):
    return read_params(VoxelParams, {**data_values["voxels"], "num_tracks": 300}, "voxels")


@pytest.fixture(scope="module")
def sequence(room, shapes, params):
    return make_sequence(room, shapes[0], 3, 0, params)


@pytest.fixture(scope="module")
def transforms(data_values):
    bounds = read_params(FrameTransformParams, data_values["transforms"], "transforms")
    return draw_frame_transforms(CENTER, 4, bounds, np.random.default_rng(9))


@pytest.fixture(scope="module")
def sample(sequence, transforms, voxels):
    return make_sample(sequence, transforms, voxels, np.random.default_rng(1))


def floor_voxels(points, voxel):
    return np.floor(points.astype(np.float64) / voxel).astype(int)


def test_3d_voxels_are_those_of_the_moved_frames(sample, sequence, transforms):
    expected = [
        (frame, *voxel)
        for frame in range(4)
        for voxel in sorted(
            map(tuple, floor_voxels(move(sequence.frame(frame)[0], transforms[frame]), 0.02))
        )
    ]
    expected = list(dict.fromkeys(expected))
    assert [tuple(row) for row in sample.coords_3d.tolist()] == expected


def test_4d_voxels_are_those_of_the_unmoved_sequence(sample, sequence):
    expected = {
        (*voxel, frame)
        for frame in range(4)
        for voxel in map(tuple, floor_voxels(sequence.frame(frame)[0], 0.05))
    }
    assert [tuple(row) for row in sample.coords_4d.tolist()] == sorted(expected)


def test_tracks_lead_to_the_voxels_of_one_point_in_all_frames(sample, sequence, transforms):
    """Every track is the pair of voxel paths of a point id, looked up in the frames themselves."""
    paths = {}
    for frame in range(4):
        points, ids = sequence.frame(frame)
        moved = floor_voxels(move(points, transforms[frame]), 0.02)
        still = floor_voxels(points, 0.05)
        for index, point in enumerate(ids.tolist()):
            path = paths.setdefault(point, [None] * 8)
            path[frame], path[4 + frame] = tuple(moved[index]), tuple(still[index])
    known = {tuple(path): point for point, path in paths.items()}
    on_object = 0
    for rows_3d, rows_4d in zip(sample.tracks_3d, sample.tracks_4d):
        path = [None] * 8
        for frame in range(4):
            assert (rows_3d[frame] < 0) == (rows_4d[frame] < 0)
            if rows_3d[frame] >= 0:
                first, *path[frame] = sample.coords_3d[rows_3d[frame]].tolist()
                *path[4 + frame], last = sample.coords_4d[rows_4d[frame]].tolist()
                assert first == last == frame
        path = tuple(tuple(voxel) if voxel else None for voxel in path)
        assert path in known
        on_object += known[path] >= len(sequence.scene_points)
    assert on_object == pytest.approx(0.125 * 300, abs=3)


def test_needed_rows_of_every_level_equal_unique_floors(sample, sequence, transforms, voxels):
    def count(coords, stride):
        return len(np.unique(coords // stride, axis=0))

    strides = (1, 2, 4, 8, 16)
    assert sample.needed.rows_3d == tuple(count(sample.coords_3d, (1, s, s, s)) for s in strides)
    assert sample.needed.rows_4d == tuple(count(sample.coords_4d, (s, s, s, s)) for s in strides)
    flat = dataclasses.replace(voxels, stride_time=False)
    still = make_sample(sequence, transforms, flat, np.random.default_rng(1))
    assert still.needed.rows_4d == tuple(count(still.coords_4d, (s, s, s, 1)) for s in strides)


def roomy(sample, factor=1.5):
    return Capacity(
        tuple(int(factor * rows) for rows in sample.needed.rows_3d),
        tuple(int(factor * rows) for rows in sample.needed.rows_4d),
    )


def test_a_batch_keeps_the_padding_contract(sample, sequence, transforms, voxels):
    other = make_sample(sequence, transforms[::-1].copy(), voxels, np.random.default_rng(2))
    capacity = roomy(sample)
    batch = collate([sample, other], capacity, in_channels=3)
    assert set(batch) == {
        *("coords_3d", "num_rows_3d", "features_3d", "tracks_3d"),
        *("coords_4d", "num_rows_4d", "features_4d", "tracks_4d"),
    }
    for grid, width in (("3d", 4), ("4d", 5)):
        coords, num_rows = batch[f"coords_{grid}"], batch[f"num_rows_{grid}"]
        features = batch[f"features_{grid}"]
        rows = 2 * (capacity.rows_3d if grid == "3d" else capacity.rows_4d)[0]
        assert coords.shape == (rows, width)
        assert features.shape == (rows, 3)
        assert (coords.dtype, features.dtype) == (np.int32, np.float32)
        assert (num_rows.dtype, num_rows.shape) == (np.int32, ())
        assert (coords[num_rows:] == PAD_COORDINATE).all()
        assert (features[:num_rows] == 1).all()
        assert (features[num_rows:] == 0).all()
        real = [tuple(row) for row in coords[:num_rows].tolist()]
        assert real == sorted(set(real))  # unique, and in lexicographic order
        assert batch[f"tracks_{grid}"].shape == (2, 300, 4)
        assert batch[f"tracks_{grid}"].dtype == np.int32
        assert batch[f"tracks_{grid}"].max() < num_rows
    assert batch["num_rows_3d"] == len(sample.coords_3d) + len(other.coords_3d)


def test_a_batch_renumbers_sequences_frames_and_tracks(sample, sequence, transforms, voxels):
    other = make_sample(sequence, transforms[::-1].copy(), voxels, np.random.default_rng(2))
    batch = collate([sample, other], roomy(sample), in_channels=1)
    for index, own in enumerate((sample, other)):
        here = batch["coords_3d"][: batch["num_rows_3d"]]
        here = here[here[:, 0] // 4 == index]
        np.testing.assert_array_equal(here - [index * 4, 0, 0, 0], own.coords_3d)
        here = batch["coords_4d"][batch["coords_4d"][:, 0] == index]
        np.testing.assert_array_equal(here[:, 1:], own.coords_4d)
        for grid, strip in (("3d", slice(1, 4)), ("4d", slice(1, 5))):
            tracks = batch[f"tracks_{grid}"][index]
            own_tracks, own_coords = (
                (own.tracks_3d, own.coords_3d) if grid == "3d" else (own.tracks_4d, own.coords_4d)
            )
            np.testing.assert_array_equal(tracks < 0, own_tracks < 0)
            held = tracks >= 0
            found = batch[f"coords_{grid}"][tracks[held]][:, strip]
            expected = own_coords[own_tracks[held]]
            np.testing.assert_array_equal(found, expected[:, 1:] if grid == "3d" else expected)


def test_pad_coordinate_is_the_engines():
    kernels = pytest.importorskip("kernels")
    assert kernels.PAD_COORDINATE == PAD_COORDINATE


def test_a_sample_that_fits_is_not_touched(sample, sequence, transforms, voxels):
    found, kept = fit_sample(sequence, transforms, voxels, sample.needed, False, [1])
    assert kept == 1.0
    expected = make_sample(sequence, transforms, voxels, np.random.default_rng([1]))
    for name in ("coords_3d", "coords_4d", "tracks_3d", "tracks_4d"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("level", range(5))
@pytest.mark.parametrize("grid", ["rows_3d", "rows_4d"])
def test_one_row_too_few_at_any_level_is_an_error_with_names(
    sample, sequence, transforms, voxels, grid, level
):
    rows = list(getattr(sample.needed, grid))
    rows[level] -= 1
    tight = dataclasses.replace(sample.needed, **{grid: tuple(rows)})
    with pytest.raises(SampleTooLarge, match=r"'room_0'.*'chair_0'.*needs"):
        fit_sample(sequence, transforms, voxels, tight, False, [1])


@pytest.mark.parametrize("share", [0.9, 0.4])
def test_a_crop_fits_and_keeps_what_is_near_the_object(sample, sequence, transforms, voxels, share):
    tight = roomy(sample, share)
    found, kept = fit_sample(sequence, transforms, voxels, tight, True, [1])
    again, _ = fit_sample(sequence, transforms, voxels, tight, True, [1])
    assert tight.holds(found.needed)
    assert 0.3 * share < kept < 1
    np.testing.assert_array_equal(found.coords_3d, again.coords_3d)
    np.testing.assert_array_equal(found.tracks_3d, again.tracks_3d)

    cropped = crop_sequence(sequence, kept)
    np.testing.assert_array_equal(cropped.object_presence, sequence.object_presence)
    away = np.linalg.norm(
        sequence.scene_points[:, :2] - sequence.poses[:, :2, 3].mean(axis=0), axis=1
    )
    gone = (sequence.scene_presence & ~cropped.scene_presence).any(axis=0)
    assert away[cropped.scene_presence.any(axis=0)].max() <= away[gone].min()
    known = {tuple(row) for row in found.coords_4d.tolist()}
    assert known <= {tuple(row) for row in sample.coords_4d.tolist()}


def test_an_object_larger_than_the_capacity_is_an_error(sample, sequence, transforms, voxels):
    with pytest.raises(SampleTooLarge, match="capacity"):
        fit_sample(sequence, transforms, voxels, roomy(sample, 0.001), True, [1])
