"""Augmentation of scenes: identity at zero strength, what follows what, how much changes."""

from dataclasses import replace

import numpy as np
import pytest
from fixtures.scenes import AUGMENTATION, IDENTITY, build_scene
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import uniform_filter1d

from fourdc_jax.data.scan import Scan
from fourdc_jax.data.scenes.augmentation import (
    AugmentationParams,
    augment,
    distort_elastically,
    draw_kept,
    draw_similarity,
    draw_voxel_offset,
    interpolate,
    jitter_colors,
    smooth_noise,
)
from fourdc_jax.params import read_params

FULL = read_params(AugmentationParams, AUGMENTATION, "augmentation")
NONE = read_params(AugmentationParams, IDENTITY, "augmentation")
SCENE = build_scene()


def columns(scan):
    return (scan.points, scan.colors, scan.labels, scan.instances)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_zero_strength_is_the_identity(seed):
    """With nothing drawn at all, and with every change drawn at strength zero."""
    drawn = replace(
        NONE,
        elastic_granularity=(0.2,),
        elastic_magnitude=(0.0,),
        elastic_probability=1.0,
        color=replace(NONE.color, contrast=0.0),
    )
    for params in (NONE, drawn):
        same = augment(SCENE, params, np.random.default_rng(seed))
        for own, column in zip(columns(same), columns(SCENE)):
            np.testing.assert_array_equal(own, column)
            assert own.dtype == column.dtype


def test_the_same_generator_gives_the_same_scene_and_another_one_another():
    first, again, other = (augment(SCENE, FULL, np.random.default_rng(seed)) for seed in (3, 3, 4))
    for own, column in zip(columns(first), columns(again)):
        np.testing.assert_array_equal(own, column)
    assert (first.points != other.points).any()


def test_the_given_scene_is_left_alone():
    """NumPy raises where a read-only array is written."""
    scene = build_scene()
    for column in columns(scene):
        column.flags.writeable = False
    for seed in range(8):
        augment(scene, FULL, np.random.default_rng(seed))


@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0, 0.99), count=st.integers(1, 300))
@settings(max_examples=50, deadline=None)
def test_kept_rows_are_as_many_as_asked_and_in_order(seed, share, count):
    kept = draw_kept(count, share, np.random.default_rng(seed))
    assert len(kept) == max(count - int(share * count), 1)
    assert (np.diff(kept) > 0).all()
    assert 0 <= kept[0] <= kept[-1] < count


def test_labels_follow_points_through_everything():
    """Colours tell the original place of a point: the ids of both stay together."""
    numbered = replace(SCENE, labels=np.arange(4000, dtype=np.int32))
    out = augment(numbered, replace(FULL, color=NONE.color), np.random.default_rng(0))
    np.testing.assert_array_equal(out.labels, numbered.labels)
    np.testing.assert_array_equal(out.colors, SCENE.colors)
    np.testing.assert_array_equal(out.instances, SCENE.instances)
    moved = replace(FULL, elastic_probability=0.0)
    out = augment(numbered, moved, np.random.default_rng(0))
    gaps = np.linalg.norm(np.diff(SCENE.points, axis=0), axis=1)  # between the points of each pair
    ratio = np.linalg.norm(np.diff(out.points, axis=0), axis=1) / gaps
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)


@pytest.mark.parametrize("seed", range(10))
def test_similarity_has_the_angles_scale_and_flips_of_its_ranges(seed):
    rng = np.random.default_rng(seed)
    linear = draw_similarity(SCENE.points, FULL, rng)[:3, :3]
    scale = abs(np.linalg.det(linear)) ** (1 / 3)
    assert 0.9 <= scale <= 1.1
    np.testing.assert_allclose(linear @ linear.T, scale**2 * np.eye(3), atol=1e-12)
    tilt = np.degrees(np.arccos(linear[2, 2] / scale))  # of the vertical, which is never flipped
    assert tilt < 2 * 2.8125


def test_every_combination_of_flips_and_every_heading_occurs():
    flips = replace(NONE, flip_probability=1.0)
    drawn = [draw_similarity(SCENE.points, flips, np.random.default_rng(s)) for s in range(60)]
    assert {tuple(np.diag(d)[:3]) for d in drawn} == {
        (x, y, 1.0) for x in (-1.0, 1.0) for y in (-1.0, 1.0)
    }
    turns = replace(NONE, rotation=(0.0, 0.0, 180.0))
    drawn = [draw_similarity(SCENE.points, turns, np.random.default_rng(s)) for s in range(200)]
    angles = np.array([np.arctan2(d[1, 0], d[0, 0]) for d in drawn])
    assert (np.histogram(angles, 4, (-np.pi, np.pi))[0] > 25).all()


def test_a_scene_turns_about_its_middle():
    """Coordinates stay small wherever the scene lies."""
    far = replace(SCENE, points=SCENE.points + np.float32(500))
    params = replace(FULL, elastic_probability=0.0)
    moved = augment(far, params, np.random.default_rng(1)).points
    middle = (far.points.min(axis=0) + far.points.max(axis=0)) / 2
    assert np.abs(moved - middle).max() < 1.1 * np.linalg.norm(np.ptp(far.points, axis=0)) / 2 + 0.1


def test_interpolation_agrees_with_scipy():
    rng = np.random.default_rng(0)
    grid = rng.standard_normal((3, 5, 7, 4), np.float32)
    cells = rng.uniform(0, 1, (3, 20_000)).astype(np.float32) * np.float32([[3.9], [5.9], [2.9]])
    axes = [np.arange(size) for size in grid.shape[1:]]
    wanted = RegularGridInterpolator(axes, np.moveaxis(grid, 0, -1))(cells.T)
    np.testing.assert_allclose(interpolate(grid, cells), wanted.T, atol=1e-5)


def test_smoothing_agrees_with_scipy():
    noise = np.random.default_rng(0).standard_normal((3, 6, 3, 5), np.float32)
    wanted = noise
    for axis in (1, 2, 3, 1, 2, 3):
        wanted = uniform_filter1d(wanted, 3, axis, mode="constant")
    np.testing.assert_allclose(smooth_noise(noise), wanted, atol=1e-6)


@pytest.mark.parametrize(("granularity", "magnitude"), [(0.2, 0.4), (0.8, 1.6)])
def test_elastic_distortion_moves_smoothly_and_by_a_tenth_of_its_magnitude(granularity, magnitude):
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 12, (20_000, 3)).astype(np.float32)
    moved = distort_elastically(points, granularity, magnitude, np.random.default_rng(1))
    move = moved - points
    assert 0.06 < move.std() / magnitude < 0.12  # 0.11 at the nodes, less between them
    assert abs(move.mean()) < 0.05 * magnitude
    far = points + np.float32(64)
    again = distort_elastically(far, granularity, magnitude, np.random.default_rng(1))
    np.testing.assert_allclose(again - far, move, atol=1e-3)  # wherever the scene lies


def test_elastic_distortion_keeps_neighbours_together():
    """The field's slope is bounded by the noise's difference over the spacing of the grid."""
    line = np.zeros((4001, 3), np.float32)
    line[:, 0] = np.linspace(0, 8, 4001, dtype=np.float32)
    moved = distort_elastically(line, 0.8, 1.6, np.random.default_rng(0)) - line
    assert np.abs(np.diff(moved, axis=0)).max() < 0.002
    assert np.abs(moved).max() > 0.05


def test_a_single_point_can_be_distorted():
    point = np.ones((1, 3), np.float32)
    assert np.isfinite(distort_elastically(point, 0.2, 0.4, np.random.default_rng(0))).all()


def test_a_stray_point_far_away_is_no_reason_to_run_out_of_memory():
    points = np.concatenate([SCENE.points, [[300, 400, 200]]]).astype(np.float32)
    params = replace(FULL, elastic_probability=1.0)
    with pytest.raises(ValueError, match=r"'yard': .* 302 x 398 x 200 m on a grid of 0\.2 m"):
        augment(Scan("yard", points), params, np.random.default_rng(0))


def test_voxel_offsets_cover_their_range():
    drawn = np.array([draw_voxel_offset(2, np.random.default_rng(s)) for s in range(100)])
    assert drawn.dtype == np.int32
    assert [set(column) for column in drawn.T.tolist()] == [{0, 1, 2}] * 3


def test_colors_shift_together_and_noise_has_its_size():
    grey = np.full((20_000, 3), 128, np.uint8)
    shift = replace(FULL.color, contrast=0.0, noise=0.0, probability=1.0)
    shifted = jitter_colors(grey, shift, np.random.default_rng(0)).astype(int)
    assert (shifted == shifted[0]).all()
    assert 0 < np.abs(shifted[0] - 128).max() <= 26
    noise = replace(FULL.color, contrast=0.0, shift=0.0, probability=1.0)
    noisy = jitter_colors(grey, noise, np.random.default_rng(0)).astype(float)
    np.testing.assert_allclose(noisy.std(axis=0), 0.05 * 255, rtol=0.03)


def test_contrast_only_widens_the_range_of_colors():
    dull = np.linspace(90, 160, 300).astype(np.uint8).reshape(100, 3)
    contrast = replace(NONE.color, contrast=1.0)
    spread = [np.ptp(jitter_colors(dull, contrast, np.random.default_rng(s))) for s in range(20)]
    assert np.ptp(dull) <= min(spread) < max(spread) <= 255
    assert max(spread) > 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"elastic_magnitude": (0.4,)}, "one magnitude a grid"),
        ({"elastic_granularity": (0.2, 0.0)}, "must be positive"),
        ({"dropout": 1.0}, "less than 1"),
        ({"voxel_offset": -1}, "must not be negative"),
    ],
)
def test_values_that_cannot_be_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        read_params(AugmentationParams, {**AUGMENTATION, **change}, "augmentation")
