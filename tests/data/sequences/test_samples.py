"""From a sequence to voxels and tracks, and crops around the object's path."""

import dataclasses

import numpy as np
import pytest
from fixtures.networks import INPUTS

from fourdc_jax.data.geometry import transform_points as move
from fourdc_jax.data.sequences.augmentation import FrameTransformParams, draw_frame_transforms
from fourdc_jax.data.sequences.samples import VoxelParams, crop_sequence, make_views
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
def views(sequence, transforms, voxels):
    return make_views(sequence, transforms, voxels, INPUTS, np.random.default_rng(1))


def floor_voxels(points, voxel):
    return np.floor(points.astype(np.float64) / voxel).astype(int)


def test_3d_voxels_are_those_of_the_moved_frames(views, sequence, transforms):
    expected = [
        (frame, *voxel)
        for frame in range(4)
        for voxel in sorted(
            map(tuple, floor_voxels(move(sequence.frame(frame)[0], transforms[frame]), 0.02))
        )
    ]
    expected = list(dict.fromkeys(expected))
    assert [tuple(row) for row in views[0].grid.coords.tolist()] == expected


def test_4d_voxels_are_those_of_the_unmoved_sequence(views, sequence):
    expected = {
        (0, *voxel, frame)
        for frame in range(4)
        for voxel in map(tuple, floor_voxels(sequence.frame(frame)[0], 0.05))
    }
    assert [tuple(row) for row in views[1].grid.coords.tolist()] == sorted(expected)


def test_features_are_ones_in_as_many_channels_as_the_network_takes(sequence, transforms, voxels):
    inputs = dataclasses.replace(INPUTS, in_channels=3)
    for view in make_views(sequence, transforms, voxels, inputs, np.random.default_rng(1)):
        assert view.grid.features.shape == (len(view.grid.coords), 3)
        assert view.grid.features.dtype == np.float32
        assert (view.grid.features == 1).all()


def test_tracks_lead_to_the_voxels_of_one_point_in_all_frames(views, sequence, transforms):
    """Every track is the pair of voxel paths of a point id, looked up in the frames themselves."""
    frames, whole = views
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
    for rows_3d, rows_4d in zip(frames.tracks, whole.tracks):
        path = [None] * 8
        for frame in range(4):
            assert (rows_3d[frame] < 0) == (rows_4d[frame] < 0)
            if rows_3d[frame] >= 0:
                first, *path[frame] = frames.grid.coords[rows_3d[frame]].tolist()
                _, *path[4 + frame], last = whole.grid.coords[rows_4d[frame]].tolist()
                assert first == last == frame
        path = tuple(tuple(voxel) if voxel else None for voxel in path)
        assert path in known
        on_object += known[path] >= len(sequence.scene_points)
    assert on_object == pytest.approx(0.125 * 300, abs=3)


def count_levels(grid, stride):
    divisors = [np.array(stride) ** level for level in range(5)]
    return [len(np.unique(grid.coords // divisor, axis=0)) for divisor in divisors]


def test_needed_rows_of_every_level_equal_unique_floors(views, sequence, transforms, voxels):
    frames, whole = views
    assert frames.grid.needed.tolist() == count_levels(frames.grid, (1, 2, 2, 2))
    assert whole.grid.needed.tolist() == count_levels(whole.grid, (1, 2, 2, 2, 2))
    still = tuple((s, s, s, 1) for s in (2, 4, 8, 16))
    inputs = dataclasses.replace(INPUTS, strides_4d=still)
    _, whole = make_views(sequence, transforms, voxels, inputs, np.random.default_rng(1))
    assert whole.grid.needed.tolist() == count_levels(whole.grid, (1, 2, 2, 2, 1))


@pytest.mark.parametrize("share", [0.9, 0.4])
def test_a_crop_keeps_what_is_near_the_object(sequence, views, transforms, voxels, share):
    num_points = int(share * len(sequence.scene_points))
    cropped = crop_sequence(sequence, num_points)
    np.testing.assert_array_equal(cropped.object_presence, sequence.object_presence)
    path = sequence.poses[:, :2, 3].mean(axis=0)
    away = np.linalg.norm(sequence.scene_points[:, :2] - path, axis=1)
    gone = (sequence.scene_presence & ~cropped.scene_presence).any(axis=0)
    assert away[cropped.scene_presence.any(axis=0)].max() <= away[gone].min()
    assert gone.sum() <= len(away) - num_points
    _, whole = make_views(cropped, transforms, voxels, INPUTS, np.random.default_rng(1))
    known = {tuple(row) for row in views[1].grid.coords.tolist()}
    assert {tuple(row) for row in whole.grid.coords.tolist()} < known


@pytest.mark.parametrize("with_object", [True, False])
def test_a_crop_to_nothing_leaves_the_object(room, shapes, params, transforms, voxels, with_object):
    static = dataclasses.replace(params, with_object=with_object)
    sequence = make_sequence(room, shapes[0] if with_object else None, 3, 0, static)
    nothing = crop_sequence(sequence, 0)
    assert not nothing.scene_presence.any()
    frames, whole = make_views(nothing, transforms, voxels, INPUTS, np.random.default_rng(1))
    assert (len(frames.grid.coords) > 0) == (len(whole.grid.coords) > 0) == with_object
    assert (frames.tracks >= 0).any() == with_object
