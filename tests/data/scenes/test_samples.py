"""Voxels of scenes: mean colours, the way back to the points, crops."""

import dataclasses

import numpy as np
import pytest
from fixtures.networks import STRIDES
from fixtures.scenes import AUGMENTATION, IDENTITY, build_scene
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from fourdc_jax.data.scan import Scan
from fourdc_jax.data.scenes.augmentation import AugmentationParams
from fourdc_jax.data.scenes.samples import VoxelParams, crop, make_sample, voxelize
from fourdc_jax.params import read_params

VOXELS = VoxelParams(0.1, "constant")
COLORED = VoxelParams(0.1, "color")
FULL = read_params(AugmentationParams, AUGMENTATION, "augmentation")
NONE = read_params(AugmentationParams, IDENTITY, "augmentation")


@st.composite
def scenes(draw):
    """Few points in few voxels, on both sides of zero, so that every case occurs."""
    count = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    points = rng.uniform(-0.25, 0.15, (count, 3)).astype(np.float32)
    labels = rng.choice(np.array([0, 1, 255], np.int32), count)
    colors = rng.integers(0, 256, (count, 3), np.uint8)
    return Scan("few", points, colors, labels, label_set="scannet20")


def places(sample):
    """Coordinates without the batch index, which is 0."""
    assert (sample.grid.coords[:, 0] == 0).all()
    return sample.grid.coords[:, 1:]


def count_levels(sample):
    return tuple(len(np.unique(places(sample) // step, axis=0)) for step in (1, 2, 4, 8, 16))


@given(scan=scenes(), shift=st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_voxels_equal_a_dictionary_of_points(scan, shift):
    offset = np.array([shift, 0, 2 * shift], np.int32)
    sample, rows = voxelize(scan, COLORED, STRIDES, offset)
    members = {}
    for index, point in enumerate(scan.points.astype(np.float64)):
        key = tuple((np.floor(point / 0.1).astype(int) + offset).tolist())
        members.setdefault(key, []).append(index)
    assert [tuple(coord) for coord in places(sample).tolist()] == sorted(members)
    for row, key in enumerate(sorted(members)):
        own = members[key]
        assert (rows[own] == row).all()
        labels = set(scan.labels[own].tolist())
        assert sample.labels[row] == (labels.pop() if len(labels) == 1 else 255)
        mean = scan.colors[own].mean(axis=0) / 255 - 0.5
        np.testing.assert_allclose(sample.grid.features[row], mean, atol=1e-6)
    assert sample.needed == count_levels(sample)


def test_the_voxel_of_a_point_is_the_nearest_one():
    scan = build_scene()
    sample, rows = voxelize(scan, VOXELS)
    centers = (places(sample) + 0.5) * 0.1
    distance, _ = cKDTree(centers).query(scan.points)
    own = np.linalg.norm(centers[rows] - scan.points, axis=1)
    np.testing.assert_allclose(own, distance, atol=1e-6)


def test_geometry_alone_is_a_constant_and_needs_neither_colors_nor_labels():
    bare = Scan("bare", build_scene().points)
    sample, _ = voxelize(bare, VOXELS)
    assert sample.grid.features.shape == (sample.size, VOXELS.in_channels)
    assert (sample.grid.features == 1).all()
    assert (sample.labels == 255).all()


def test_a_sample_without_augmentation_is_the_scene_itself():
    scan = build_scene()
    sample = make_sample(scan, COLORED, NONE, STRIDES, np.random.default_rng(0))
    plain, _ = voxelize(scan, COLORED, STRIDES)
    for name in ("labels", "needed", "num_voxels"):
        np.testing.assert_array_equal(getattr(sample, name), getattr(plain, name))
    for ours, theirs in zip(sample.grid, plain.grid, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_labels_stay_with_their_surfaces_under_augmentation():
    """The floor is label 0: after tilts of a few degrees its voxels are still the lowest."""
    params = dataclasses.replace(FULL, elastic_probability=0.0)
    for seed in range(5):
        sample = make_sample(build_scene(), VOXELS, params, STRIDES, np.random.default_rng(seed))
        assert set(sample.labels.tolist()) <= {0, 1, 2, 255}
        height = places(sample)[:, 2]
        heights = [np.median(height[sample.labels == label]) for label in (0, 1, 2)]
        assert heights[0] + 3 < min(heights[1:])


def test_voxels_are_dropped_as_often_as_asked_with_all_that_belongs_to_them():
    params = dataclasses.replace(NONE, dropout=0.2, dropout_probability=0.2)
    plain, _ = voxelize(build_scene(), COLORED)
    label_at = dict(zip(map(tuple, places(plain).tolist()), plain.labels))
    left, drops = plain.size - int(0.2 * plain.size), 0
    for seed in range(100):
        sample = make_sample(build_scene(), COLORED, params, STRIDES, np.random.default_rng(seed))
        assert sample.size in (left, plain.size)
        assert sample.num_voxels == sample.needed[0] == len(sample.grid.features) == sample.size
        found = [label_at[tuple(coord)] for coord in places(sample).tolist()]
        assert found == sample.labels.tolist()
        drops += sample.size == left
    assert 8 < drops < 33


def test_centers_are_random_voxels():
    found = set()
    for seed in range(10):
        sample = make_sample(build_scene(), VOXELS, NONE, STRIDES, np.random.default_rng(seed))
        assert (sample.grid.coords[:, 1:3] == sample.center).all(axis=1).any()
        found.add(sample.center)
    assert len(found) > 5


@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.01, 1))
@settings(max_examples=30, deadline=None)
def test_a_crop_is_the_rows_nearest_to_the_center(seed, share):
    sample = make_sample(build_scene(), COLORED, FULL, STRIDES, np.random.default_rng(seed))
    num_rows = max(1, int(share * sample.size))
    cropped = crop(sample, num_rows, STRIDES)
    row_of = {tuple(coord): row for row, coord in enumerate(places(sample).tolist())}
    rows = [row_of[tuple(coord)] for coord in places(cropped).tolist()]
    assert len(rows) == num_rows
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(cropped.labels, sample.labels[rows])
    np.testing.assert_array_equal(cropped.grid.features, sample.grid.features[rows])
    distance = np.linalg.norm(sample.grid.coords[:, 1:3] - np.array(sample.center), axis=1)
    gone = np.setdiff1d(np.arange(sample.size), rows)
    assert distance[rows].max() <= distance[gone].min(initial=np.inf)
    assert cropped.needed == count_levels(cropped)
    assert cropped.num_voxels == sample.size


@pytest.mark.parametrize("augmented", [False, True])
def test_scenes_that_cannot_be_voxelised_are_named(augmented):
    scan = build_scene()
    points = scan.points.copy()
    points[3:5, 2] = np.inf
    empty = Scan("hall", np.zeros((0, 3), np.float32))

    def make(scan, voxels):
        if augmented:
            make_sample(scan, voxels, FULL, STRIDES, np.random.default_rng(0))
        else:
            voxelize(scan, voxels)

    with pytest.raises(ValueError, match=r"'scene_0': 2 of 4000 points .* not finite"):
        make(dataclasses.replace(scan, points=points), VOXELS)
    with pytest.raises(ValueError, match="'hall' has no points"):
        make(empty, VOXELS)
    with pytest.raises(ValueError, match="'scene_0' has no colours: set features to 'constant'"):
        make(dataclasses.replace(scan, colors=None), COLORED)
