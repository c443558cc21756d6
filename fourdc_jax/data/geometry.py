"""Rotations, and points moved by transforms."""

import numpy as np
from jaxtyping import Float32, Float64


def rotation_xyz(angles: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3 3"]:
    """Rotation by angles (radians) about the fixed axes x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def transform_points(
    points: Float32[np.ndarray, "n 3"], transform: Float64[np.ndarray, "4 4"]
) -> Float32[np.ndarray, "n 3"]:
    """Applies a 4 x 4 transform to points, in single precision."""
    linear = transform[:3, :3].astype(np.float32)
    return points @ linear.T + transform[:3, 3].astype(np.float32)
