"""Rotations, and points moved by transforms."""

from numbers import Real
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64


def rotation_xyz(angles: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3 3"]:
    """Rotation by angles (radians) about the fixed axes x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def rotation_about(axis: Literal["x", "y", "z"], angle: Real) -> Float64[np.ndarray, "3 3"]:
    """Right-handed rotation by an angle (radians) about one axis."""
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
    return matrix


def middle_of(points: Float32[np.ndarray, "n 3"]) -> Float64[np.ndarray, "3"]:
    """The middle of the points' axis-aligned box."""
    return (points.min(axis=0).astype(np.float64) + points.max(axis=0)) / 2


def turn_points(points: Float32[np.ndarray, "n 3"], angle: float) -> Float32[np.ndarray, "n 3"]:
    """Points turned about z by an angle (radians), around the middle of their box."""
    center = middle_of(points)
    turned = (points - center) @ rotation_about("z", angle).T + center
    return turned.astype(np.float32)


def transform_points(
    points: Float32[np.ndarray, "n 3"], transform: Float64[np.ndarray, "4 4"]
) -> Float32[np.ndarray, "n 3"]:
    """Applies a 4 x 4 transform to points, in single precision."""
    linear = transform[:3, :3].astype(np.float32)
    return points @ linear.T + transform[:3, 3].astype(np.float32)
