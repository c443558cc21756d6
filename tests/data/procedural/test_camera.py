"""The depth camera against ray-triangle intersection in float64, and its imperfections."""

from dataclasses import replace

import numpy as np
import pytest

from fourdc_jax.data.procedural import camera, solids
from fourdc_jax.data.procedural.rooms import PARAMS

IDEAL = replace(
    PARAMS.camera,
    width=40,
    height=30,
    near=0.01,
    far=50.0,
    noise_floor=0.0,
    noise_slope=0.0,
    pose_shift=0.0,
    pose_turn=0.0,
    warp=0.0,
    grazing=1e-6,
)
GREY = (0.5, 0.5, 0.5)


def room_of_boxes(rng, count=60):
    """Boxes all around the camera, some of them crossing its image plane."""
    centers, sizes = rng.uniform(-3, 3, (count, 3)), rng.uniform(0.05, 1.2, (count, 3))
    away = (np.abs(centers) > sizes / 2 + 0.1).any(1)  # the camera is in none of them
    colors = rng.random((count, 3))
    return solids.boxes(sizes[away], centers[away], colors[away])


def brute_force(mesh, pose, slopes):
    """Nearest front face along each ray, by Moeller-Trumbore on all triangles."""
    v = (mesh.quads - pose.position) @ pose.axes.T
    triangles = np.concatenate([v[:, [0, 1, 2]], v[:, [0, 2, 3]]])
    rays = np.stack([*slopes, np.ones_like(slopes[0])], axis=1).astype(np.float64)
    a, e1, e2 = (
        triangles[:, 0],
        triangles[:, 1] - triangles[:, 0],
        triangles[:, 2] - triangles[:, 0],
    )
    best, quad = np.full(len(rays), np.inf), np.full(len(rays), -1)
    for index in range(len(triangles)):
        p = np.cross(rays, e2[index])
        determinant = p @ e1[index]
        with np.errstate(divide="ignore", invalid="ignore"):
            u = p @ -a[index] / determinant
            q = np.cross(-a[index], e1[index])
            w = rays @ q / determinant
            t = q @ e2[index] / determinant
        hit = (determinant > 1e-12) & (u >= 0) & (w >= 0) & (u + w <= 1) & (t > 0.05) & (t < best)
        best[hit], quad[hit] = t[hit], index % len(v)
    return quad, best


@pytest.mark.parametrize("seed", range(4))
def test_cast_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    mesh = room_of_boxes(rng)
    pose = camera.look(np.zeros(3), rng.uniform(0, 6), rng.uniform(-1, 1))
    slopes = camera.pixel_rays(IDEAL, rng)
    quads = ((mesh.quads - pose.position) @ pose.axes.T).astype(np.float32)
    quad, depth = camera.cast(quads, slopes, IDEAL)
    expected, distance = brute_force(mesh, pose, slopes)
    same = quad == expected
    assert same.mean() > 0.995  # rays within rounding of an edge may differ
    assert (quad >= 0).sum() > 100
    hit = same & (quad >= 0)
    np.testing.assert_allclose(depth[hit], distance[hit], rtol=2e-4)


def test_closed_room_has_no_leaks():
    """Every ray from inside a box, split into many quads and turned, ends on it."""
    wall = solids.boxes(np.full((1, 3), 4.0), np.zeros((1, 3)), np.full((1, 3), 0.5))
    inside_out = replace(wall, quads=wall.quads[:, ::-1])
    for seed in range(20):
        rng = np.random.default_rng(seed)
        mesh = inside_out.turned("x", rng.uniform(0, 6)).moved(yaw=rng.uniform(0, 6))
        quad, _ = camera.cast(mesh.quads.astype(np.float32), camera.pixel_rays(IDEAL, rng), IDEAL)
        assert (quad >= 0).all()


def test_look_directions():
    pose = camera.look(np.zeros(3), np.radians(90), np.radians(-30))
    right, down, forward = pose.axes
    np.testing.assert_allclose(right, [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(forward, [0, np.sqrt(0.75), -0.5], atol=1e-12)
    np.testing.assert_allclose(np.cross(right, down), forward, atol=1e-12)


def wall_at(distance, returns=1.0):
    return solids.box((0.1, 40, 40), (distance + 0.05, 0, -20), GREY, returns)


def test_ideal_points_lie_on_the_surface():
    pose = camera.look(np.array([0.0, 0, 0]), 0.0, 0.0)
    points, quad, _ = camera.observe(wall_at(2.0), pose, IDEAL, np.random.default_rng(0))
    assert len(points) == IDEAL.width * IDEAL.height
    np.testing.assert_allclose(points[:, 0], 2.0, atol=1e-5)
    assert len(np.unique(quad)) == 1


@pytest.mark.parametrize(
    ("distance", "seen"), [(0.3, False), (0.5, True), (4.5, True), (5.5, False)]
)
def test_range_limits(distance, seen):
    params = replace(IDEAL, near=0.4, far=5.0)
    pose = camera.look(np.zeros(3), 0.0, 0.0)
    points, _, _ = camera.observe(wall_at(distance), pose, params, np.random.default_rng(0))
    assert bool(len(points)) == seen


def test_noise_grows_as_stated():
    params = replace(IDEAL, near=0.4, noise_floor=0.001, noise_slope=0.002)
    pose = camera.look(np.zeros(3), 0.0, 0.0)
    for distance in (1.0, 3.0):
        points, _, noise = camera.observe(wall_at(distance), pose, params, np.random.default_rng(0))
        expected = 0.001 + 0.002 * (distance - 0.4) ** 2
        assert points[:, 0].std() == pytest.approx(expected, rel=0.1)
        np.testing.assert_allclose(noise, expected, rtol=1e-5)


def test_weak_and_grazing_surfaces_have_holes():
    pose = camera.look(np.zeros(3), 0.0, 0.0)
    params = replace(IDEAL, width=160, height=120)
    full = params.width * params.height
    glass = camera.observe(wall_at(2.0, 0.3), pose, params, np.random.default_rng(0))[0]
    assert 0.15 < len(glass) / full < 0.5
    floor = solids.box((80, 80, 0.1), (0, 0, -1.1), GREY)
    fading = replace(params, grazing=0.3)
    near, far = (
        camera.observe(floor, pose, p, np.random.default_rng(0))[0] for p in (params, fading)
    )
    assert len(far) < 0.8 * len(near)
    steep = near[
        np.hypot(near[:, 0], near[:, 1]) < 3.0
    ]  # incidence above the fade-out: nothing is lost there
    assert (np.hypot(far[:, 0], far[:, 1]) < 3.0).sum() == len(steep) > 100


def test_pose_error_moves_the_whole_image():
    params = replace(IDEAL, pose_shift=0.01)
    pose = camera.look(np.zeros(3), 0.0, 0.0)
    offsets = [
        camera.observe(wall_at(2.0), pose, params, np.random.default_rng(s))[0][:, 0] - 2.0
        for s in range(60)
    ]
    assert max(o.std() for o in offsets) < 1e-5
    assert np.std([o.mean() for o in offsets]) == pytest.approx(0.01, rel=0.3)
