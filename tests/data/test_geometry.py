"""Rotations against SciPy's, and points moved by transforms."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fourdc_jax.data.geometry import (
    middle_of,
    rotation_about,
    rotation_xyz,
    transform_points,
    turn_points,
)

POINTS = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


def test_rotations_about_fixed_axes():
    angles = np.array([0.3, -1.1, 2.5])
    np.testing.assert_allclose(rotation_xyz(angles), Rotation.from_euler("xyz", angles).as_matrix())


@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("angle", [0, -1.1, 2.5])
def test_a_rotation_about_one_axis(axis, angle):
    expected = Rotation.from_euler(axis, angle).as_matrix()
    np.testing.assert_allclose(rotation_about(axis, angle), expected, atol=1e-15)
    alone = np.where(np.array(["x", "y", "z"]) == axis, angle, 0.0)
    np.testing.assert_array_equal(rotation_about(axis, angle), rotation_xyz(alone))


def test_transforms_move_points_in_single_precision():
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = 2 * rotation_about("y", 0.7), (1, -2, 3)
    moved = transform_points(POINTS, transform)
    assert moved.dtype == np.float32
    expected = POINTS @ transform[:3, :3].T + transform[:3, 3]
    np.testing.assert_allclose(moved, expected, atol=1e-6)


def test_the_middle_is_that_of_the_box_not_of_the_points():
    points = np.array([[0, 0, 0], [0, 0, 0], [4, 1, -2]], np.float32)
    assert middle_of(points).tolist() == [2, 0.5, -1]


def test_turned_points_keep_their_middle_and_height():
    turned = turn_points(POINTS, np.pi / 2)
    center = middle_of(POINTS)
    x, y, z = (POINTS - center).T
    expected = np.stack([-y, x, z], axis=1)
    assert turned.dtype == np.float32
    np.testing.assert_allclose(turned - center, expected, atol=1e-6)
