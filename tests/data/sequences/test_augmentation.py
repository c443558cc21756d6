import dataclasses
from itertools import product

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fourdc_jax.data.geometry import transform_points
from fourdc_jax.data.sequences.augmentation import (
    FrameTransformParams,
    NotEnoughPoints,
    Presence,
    PresenceParams,
    chunk_sides,
    draw_background,
    draw_frame_transforms,
    draw_presence,
    index_background,
)

POINTS = np.random.default_rng(0).uniform(0, (6, 5, 2.5), (20_000, 3)).astype(np.float32)


@pytest.mark.parametrize("order", ["random", "sorted"])
@pytest.mark.parametrize(
    ("extent", "centers"), list(product(["axes", "smallest", "mean", "largest"], ["box", "points"]))
)
def test_removed_points_are_exactly_those_inside_the_cubes(params, extent, centers, order):
    """Replays the draws and tests every point against every cube."""
    points = POINTS if order == "random" else POINTS[np.lexsort(POINTS.T[::-1])]
    bounds = dataclasses.replace(params.presence, chunk_extent=extent, chunk_centers=centers)
    for seed in range(5):
        found = draw_background(index_background(points), bounds, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        low, high = points.min(axis=0).astype(np.float64), points.max(axis=0)
        sides = high - low
        inside = np.zeros(len(points), bool)
        for _ in range(rng.integers(5, 16)):
            if centers == "box":
                center = low + rng.random(3) * sides
            else:
                center = points[rng.integers(len(points))].astype(np.float64)
            size = rng.uniform(0.15, 0.45)
            scale = {"axes": sides, "smallest": 2.5, "mean": sides.mean(), "largest": sides.max()}
            half = size * scale[extent] / 2
            inside |= (np.abs(points - center) <= np.broadcast_to(half, 3)).all(axis=1)
        # single precision decides for points within a rounding of a cube's side
        assert np.count_nonzero(found == inside) <= 3
        assert inside.any()


def test_chunk_sides():
    sides = np.array([6.0, 5.0, 2.5])
    expected = {"axes": sides, "smallest": [2.5] * 3, "mean": [4.5] * 3, "largest": [6.0] * 3}
    for extent, full in expected.items():
        bounds = make_bounds(chunk_extent=extent)
        np.testing.assert_allclose(chunk_sides(sides, 0.2, bounds), 0.2 * np.array(full))


def make_bounds(**changes):
    values = {
        "scene_share": (0.85, 0.95),
        "object_share": (0.85, 0.95),
        "num_chunks": (5, 15),
        "chunk_size": (0.15, 0.45),
        "chunk_extent": "axes",
        "chunk_centers": "box",
        "chunks_per": "frame",
        "min_scene": 0.3,
        "min_object": 0.3,
        "min_frame": 0.5,
        "max_draws": 100,
    }
    return PresenceParams(**{**values, **changes})


@pytest.mark.parametrize("chunks_per", ["frame", "sequence"])
def test_accepted_draws_keep_enough_points(chunks_per):
    background = index_background(POINTS)
    discarded = 0
    for seed in range(25):
        bounds = make_bounds(chunks_per=chunks_per)
        found = draw_presence(background, 1000, 4, bounds, np.random.default_rng(seed))
        assert isinstance(found, Presence)
        assert found.scene.shape == (4, len(POINTS))
        assert found.object.shape == (4, 1000)
        assert found.scene.all(axis=0).mean() >= 0.3
        assert found.object.all(axis=0).mean() >= 0.3
        both = np.concatenate([found.scene, found.object], axis=1)
        assert both.mean(axis=1).min() >= 0.5
        assert len(np.unique(found.scene, axis=0)) == 4  # other points in each frame
        assert len(np.unique(found.object, axis=0)) == 4
        discarded += found.discarded
    assert (discarded > 0) == (chunks_per == "frame")


def test_chunks_per_sequence_are_the_same_in_all_frames():
    everything = make_bounds(
        chunks_per="sequence", scene_share=(1.0, 1.0), object_share=(1.0, 1.0), min_scene=0.0
    )
    everything = dataclasses.replace(everything, min_frame=0.0)
    found = draw_presence(index_background(POINTS), 10, 4, everything, np.random.default_rng(0))
    np.testing.assert_array_equal(found.scene, np.tile(found.scene[:1], (4, 1)))
    assert 0 < found.scene[0].mean() < 1
    assert found.object.all()  # chunks never touch the object
    each = dataclasses.replace(everything, chunks_per="frame")
    found = draw_presence(index_background(POINTS), 10, 4, each, np.random.default_rng(0))
    assert len(np.unique(found.scene, axis=0)) == 4


def test_the_share_of_random_points_spans_its_range():
    bounds = make_bounds(num_chunks=(0, 0), scene_share=(0.6, 0.9), min_scene=0.0)
    shares = [
        draw_presence(index_background(POINTS), 0, 4, bounds, np.random.default_rng(seed))
        .scene.mean(axis=1)
        .tolist()
        for seed in range(30)
    ]
    assert np.min(shares) == pytest.approx(0.6, abs=0.03)
    assert np.max(shares) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"min_scene": 0.99}, "scan's points are in all frames: 7 draws"),
        ({"min_object": 0.99}, "object's points are in all frames"),
        ({"min_frame": 0.999}, "a frame keeps less than 100% of all points: 7 draws"),
    ],
)
def test_giving_up_names_the_bound_and_the_number_of_draws(changes, reason):
    bounds = make_bounds(chunk_extent="smallest", max_draws=7, **changes)
    found = draw_presence(index_background(POINTS), 500, 4, bounds, np.random.default_rng(0))
    assert isinstance(found, NotEnoughPoints)
    assert found.discarded == 7
    assert reason in found.reason


def test_a_static_scene_has_no_object_to_lose():
    found = draw_presence(index_background(POINTS), 0, 4, make_bounds(), np.random.default_rng(0))
    assert isinstance(found, Presence)
    assert found.object.shape == (4, 0)


def test_frame_transforms_are_similarities_about_the_centre_in_their_ranges():
    bounds = FrameTransformParams((5.0, 10.0, 180.0), (0.5, 0.4, 0.1), (0.9, 1.1))
    center = np.array([3.0, -2.0, 1.0])
    scales, angles, shifts = [], [], []
    for seed in range(100):
        found = draw_frame_transforms(center, 4, bounds, np.random.default_rng(seed))
        assert len(np.unique(found, axis=0)) == 4
        for transform in found:
            scale = np.cbrt(np.linalg.det(transform[:3, :3]))
            rotation = transform[:3, :3] / scale
            np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
            scales.append(scale)
            angles.append(np.rad2deg(Rotation.from_matrix(rotation).as_euler("xyz")))
            shifts.append(transform[:3, :3] @ center + transform[:3, 3] - center)
    assert 0.9 <= min(scales) < 0.91
    assert 1.09 < max(scales) <= 1.1
    for values, limits in ((angles, (5, 10, 180)), (shifts, (0.5, 0.4, 0.1))):
        largest = np.abs(values).max(axis=0)
        assert (largest <= limits).all()
        assert (largest > 0.95 * np.array(limits)).all()


def test_transform_points_is_the_matrix_product():
    transform = draw_frame_transforms(
        np.ones(3),
        1,
        FrameTransformParams((5.0, 5.0, 180.0), (0.5, 0.5, 0.5), (0.9, 1.1)),
        np.random.default_rng(0),
    )[0]
    homogeneous = np.concatenate([POINTS.astype(np.float64), np.ones((len(POINTS), 1))], axis=1)
    expected = (homogeneous @ transform.T)[:, :3]
    found = transform_points(POINTS, transform)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=5e-6)
