"""The software renderer: projection, z-buffer, cut-away walls, speed, files."""

import time

import numpy as np
import pytest
from plyfile import PlyData

from fourdc_jax.viz.rendering.camera import (
    Camera,
    check_points,
    cut_away,
    floor_height,
    look_at_room,
    visible,
)
from fourdc_jax.viz.rendering.render import eye_dome, render_points, splat, write_ply
from fourdc_jax.viz.rendering.shading import ambient_occlusion, voxel_surface

DOWN = Camera(  # 10 m above the origin, looking straight down; x right, y up in the picture
    eye=np.array([0.0, 0.0, 10.0]),
    rotation=np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]]),
    focal=100.0,
    width=100,
    height=80,
)


def plane(rng, n, low, high, axis, value):
    """n points on the part of the plane `axis` = value between the corners low and high."""
    points = rng.uniform(low, high, (n, 3))
    points[:, axis] = value
    return points.astype(np.float32)


def make_room(n, seed=0):
    """A 5 x 4 x 2.6 m box room, n points on each of its six sides, and which side each is of."""
    rng = np.random.default_rng(seed)
    low, high = np.zeros(3), np.array([5.0, 4.0, 2.6])
    sides = [(axis, value) for axis in range(3) for value in (low[axis], high[axis])]
    points = [plane(rng, n, low, high, axis, value) for axis, value in sides]
    return np.concatenate(points), np.repeat(np.arange(6), n)


def test_projection_follows_the_pinhole_equation():
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 5]])
    pixels, depth = DOWN.project(points)
    np.testing.assert_allclose(depth, [10, 10, 10, 5])
    np.testing.assert_allclose(pixels, [[50, 40], [60, 40], [50, 30], [70, 20]])


def test_resizing_and_zooming_move_pixels_as_a_crop_does():
    points = np.array([[0.5, 0.4, 0.0], [1.5, 1.0, 0.0], [1.0, 0.7, 1.0]])
    pixels, _ = DOWN.project(points)
    np.testing.assert_allclose(DOWN.resized(160).project(points)[0], 2 * pixels)
    close = DOWN.zoomed(points, part=0.4, most=3.0)
    zoomed, _ = close.project(points)
    factor = close.focal / DOWN.focal
    assert 1 < factor <= 3
    np.testing.assert_allclose(np.diff(zoomed, axis=0), factor * np.diff(pixels, axis=0))
    assert (zoomed > 0).all()
    assert (zoomed < [100, 80]).all()


def test_nearest_point_wins_in_every_pixel():
    rng = np.random.default_rng(0)
    points = rng.uniform([-3, -3, 0], [3, 3, 5], (300, 3))
    radius = np.full(300, 1e-6)  # one pixel and its four neighbours
    normals = np.tile([0.0, 0.0, 1.0], (300, 1))
    index, depth = splat(points, normals, radius, DOWN)
    pixels, far = DOWN.project(points)
    expected = np.full((80, 100), -1)
    for i in np.argsort(-far):
        column, row = np.floor(pixels[i]).astype(int)
        if 1 <= column < 99 and 1 <= row < 79:
            expected[row, column] = i
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_array_equal(np.isinf(depth), index < 0)
    np.testing.assert_allclose(depth[index >= 0], far[index[index >= 0]], rtol=1e-6)


def test_a_disc_covers_its_radius_and_no_more():
    index, depth = splat(np.zeros((1, 3)), np.array([[0.0, 0, 1]]), np.array([0.55]), DOWN)
    row, column = np.nonzero(index == 0)
    distance = np.hypot(row - 40, column - 50) * 0.1  # metres: 10 pixels a metre
    rows, columns = np.mgrid[:80, :100]
    assert (distance <= 0.55).all()
    assert len(row) == (np.hypot(rows - 40, columns - 50) * 0.1 <= 0.55).sum()
    assert depth[40, 50] == pytest.approx(10)
    assert depth[40, 55] > depth[40, 50]  # recedes towards the edge


def test_points_outside_the_picture_are_left_out():
    points = np.array([[100.0, 0, 0], [0, -100, 0], [0, 0, 20]])
    index, _ = splat(points, np.tile([0.0, 0, 1], (3, 1)), np.full(3, 0.1), DOWN)
    assert (index[:, :] == -1).all() or set(np.unique(index)) <= {-1, 2}


def test_eye_dome_darkens_only_what_lies_behind():
    depth = np.full((20, 20), 4.0)
    depth[:, 10:] = 3.0
    light = eye_dome(depth, radius=1, strength=1.0)
    assert (light[:, 9] < 1).all()
    np.testing.assert_array_equal(light[:, 10:], 1)
    np.testing.assert_array_equal(light[:, :6], 1)


def test_near_walls_and_ceiling_are_cut_and_the_rest_stays():
    points, side = make_room(4000)
    camera = look_at_room(points, width=320, height=240)
    keep = cut_away(points, camera)
    kept = np.array([keep[side == s].mean() for s in range(6)])
    near = [  # the two walls between the camera and the middle of the room
        0 if camera.eye[0] < 2.5 else 1,
        2 if camera.eye[1] < 2.0 else 3,
    ]
    far = [s for s in range(4) if s not in near]
    assert kept[5] == 0  # ceiling
    assert (kept[near] < 0.2).all()
    assert (kept[far] > 0.7).all()
    assert kept[4] > 0.95  # floor


def test_room_fits_into_the_picture():
    points, side = make_room(4000)
    for corner in range(4):
        camera = look_at_room(points, width=320, height=240, corner=corner)
        pixels, _ = camera.project(points[side == 4])
        assert (pixels > 0).all()
        assert (pixels < [320, 240]).all()
        assert np.ptp(pixels, axis=0).max() > 150  # and fills it


def test_hidden_points_are_not_visible():
    grid = np.stack(np.meshgrid(np.linspace(-3, 3, 200), np.linspace(-3, 3, 200)), -1)
    table = np.concatenate([grid.reshape(-1, 2), np.full((40_000, 1), 1.0)], axis=1)
    points = np.array([[0.0, 0, 0], [0, 0, 2.0], [0, 0, 1.0]])
    np.testing.assert_array_equal(visible(points, DOWN, table), [False, True, True])


def test_normals_and_spacing_of_a_plane():
    rng = np.random.default_rng(0)
    points = plane(rng, 20_000, [0, 0, 0], [2, 2, 2], 2, 0.51)
    surface = voxel_surface(points)
    np.testing.assert_allclose(np.abs(surface.normals[:, 2]), 1, atol=1e-6)
    expected = np.sqrt(4 / 20_000)  # of points spread over 4 square metres
    assert np.median(surface.spacing) == pytest.approx(expected, rel=0.1)


def test_neighbours_of_voxels_are_those_of_a_brute_force_search():
    points = np.random.default_rng(0).uniform(0, 0.3, (60, 3))
    surface = voxel_surface(points, cell=0.05)
    assert surface.cell == pytest.approx(0.1)  # too few points for 5 cm
    cell = np.floor((points - points.min(0)) / surface.cell).astype(int)
    of_voxel = np.array([cell[surface.index == v][0] for v in range(len(surface.centres))])
    for v, here in enumerate(of_voxel):
        near = np.flatnonzero(np.abs(of_voxel - here).max(1) <= 1)
        found = surface.neighbours[v]
        np.testing.assert_array_equal(np.sort(found[found >= 0]), near)
        assert found[13] == v


def test_occlusion_is_darkest_under_a_table():
    rng = np.random.default_rng(0)
    floor = plane(rng, 20_000, [-2, -2, 0], [2, 2, 0], 2, 0.0)
    table = plane(rng, 5_000, [-0.6, -0.6, 0], [0.6, 0.6, 0], 2, 0.7)
    surface = voxel_surface(np.concatenate([floor, table]))
    sky = ambient_occlusion(surface, np.tile([0.0, 0, 1], (len(surface.normals), 1)))
    x, y, z = surface.centres.T
    under = (z < 0.1) & (np.hypot(x, y) < 0.3)
    open_floor = (z < 0.1) & (np.hypot(x, y) > 1.6)
    assert sky[under].mean() < 0.65
    assert sky[open_floor].mean() > 0.9
    assert sky[z > 0.6].mean() > 0.95


def test_picture_is_deterministic_uint8_with_the_object_in_its_colour():
    points, _ = make_room(5000)
    camera = look_at_room(points, width=200, height=150)
    rng = np.random.default_rng(1)
    ball = rng.normal(size=(2000, 3))
    ball = (ball / np.linalg.norm(ball, axis=1, keepdims=True) * 0.4 + [2.5, 2, 0.5]).astype("f4")
    red = np.broadcast_to(np.array([1.0, 0.1, 0.1]), ball.shape)
    pictures = [
        render_points(points, camera, highlight=ball, highlight_colors=red) for _ in range(2)
    ]
    assert pictures[0].dtype == np.uint8
    assert pictures[0].shape == (150, 200, 3)
    np.testing.assert_array_equal(*pictures)
    column, row = np.floor(camera.project(np.array([[2.5, 2, 0.9]]))[0][0]).astype(int)
    r, g, b = pictures[0][row + 3, column].astype(int)
    assert r > 2 * g
    assert r > 2 * b
    np.testing.assert_array_equal(pictures[0][0, 0], 255)  # background


def test_200k_points_are_drawn_within_a_second():
    points, _ = make_room(34_000)
    camera = look_at_room(points)
    times = []
    for _ in range(3):
        start = time.process_time()
        render_points(points, camera, supersample=1)
        times.append(time.process_time() - start)
    assert len(points) > 200_000
    assert min(times) < 1.5  # processor seconds; 0.3 to 0.6 on a laptop core, idle or busy


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((0, 3)), "at least 4 points, got 0"),
        (np.full((8, 3), np.nan), "8 of 8 points"),
    ],
)
def test_undrawable_points_are_named(points, message):
    with pytest.raises(ValueError, match=message):
        render_points(points, DOWN)


def test_an_array_of_another_shape_is_named():
    with pytest.raises(ValueError, match=r"\[n, 3\], got \[8, 2\]"):
        check_points(np.zeros((8, 2)))


def test_colours_of_the_wrong_range_are_named():
    points, _ = make_room(100)
    with pytest.raises(ValueError, match=r"0\.\.1 or uint8, got floats from 0 to 255"):
        render_points(points, look_at_room(points), colors=np.linspace(0, 255, 1800).reshape(-1, 3))


def test_coordinates_that_are_no_metres_are_named():
    points, _ = make_room(100)
    with pytest.raises(ValueError, match="metres"):
        voxel_surface(points * 1e6)


def test_floor_is_found_below_furniture():
    rng = np.random.default_rng(0)
    floor = plane(rng, 2000, [0, 0, 0], [3, 3, 0], 2, 0.4)
    clutter = rng.uniform([0, 0, 0.4], [3, 3, 3], (1000, 3)).astype(np.float32)
    assert floor_height(np.concatenate([floor, clutter])) == pytest.approx(0.4, abs=0.06)


def test_ply_holds_what_was_written(tmp_path):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(50, 3)).astype(np.float32)
    colors = rng.integers(0, 256, (50, 3)).astype(np.uint8)
    write_ply(tmp_path / "cloud.ply", points, colors)
    vertex = PlyData.read(str(tmp_path / "cloud.ply"))["vertex"]
    np.testing.assert_array_equal(np.stack([vertex[a] for a in "xyz"], 1), points)
    read = np.stack([vertex[a] for a in ("red", "green", "blue")], 1)
    np.testing.assert_array_equal(read, colors)
