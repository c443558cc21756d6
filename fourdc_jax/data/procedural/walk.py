"""The path of somebody who scans a room: where the camera stands and where it looks."""

import numpy as np
from jaxtyping import Float64

from fourdc_jax.data.procedural.camera import Pose, look
from fourdc_jax.data.procedural.layout import Layout, random_poses

BODY = 0.2  # half width of a person, metres
SPOTS = 400  # places that are tried


def walk_through(
    layout: Layout,
    *,
    stations: int,
    turns: int,
    height: tuple[float, float],
    pitch: tuple[float, float],
    rng: np.random.Generator,
) -> list[Pose]:
    """Camera poses: `turns` views around each of `stations` spread-out standing places.

    `height` in metres and `pitch` in degrees (low, high) are ranges; pitches alternate between the
    lower and the upper half, so that floor and walls are both seen.
    """
    spots = standing_places(layout, stations, rng)
    poses = []
    for x, y in spots:
        start = rng.uniform(0, 2 * np.pi)
        for turn in range(turns):
            yaw = start + (turn + rng.uniform(-0.25, 0.25)) * (2 * np.pi / turns)
            middle = 0.5 * (pitch[0] + pitch[1])
            span = (pitch[0], middle) if turn % 2 else (middle, pitch[1])
            position = np.array([x, y, rng.uniform(*height)])
            poses.append(look(position, yaw, np.radians(rng.uniform(*span))))
    return poses


def standing_places(
    layout: Layout, count: int, rng: np.random.Generator
) -> Float64[np.ndarray, "s 2"]:
    """Free places for a person, far from each other, in the order of a short walk."""
    poses = random_poses(layout, SPOTS, rng, square=False)
    sides, low, high = np.full((SPOTS, 2), BODY), np.zeros(SPOTS), np.full(SPOTS, 1.9)
    prisms = np.column_stack([poses[:, :2], sides, poses[:, 2], low, high])
    free = poses[layout.fits(prisms, respect_zones=False), :2]
    if not len(free):
        raise ValueError("no free place to stand in the room: the layout is too crowded")
    chosen = [0]
    distance = np.linalg.norm(free - free[0], axis=1)
    for _ in range(min(count, len(free)) - 1):  # farthest point sampling
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(free - free[chosen[-1]], axis=1))
    left, order = chosen[1:], [chosen[0]]
    while left:  # always on to the nearest
        gaps = np.linalg.norm(free[left] - free[order[-1]], axis=1)
        order.append(left.pop(int(np.argmin(gaps))))
    return free[order]
