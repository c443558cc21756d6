"""Plans and placements: polygons, prisms that do not overlap, furniture at walls and tables."""

import numpy as np
import pytest
from matplotlib.path import Path

from fourdc_jax.data.procedural import layout as lay
from fourdc_jax.data.procedural import plan
from fourdc_jax.data.procedural.seating import make_chair
from fourdc_jax.data.procedural.storage import make_cabinet
from fourdc_jax.data.procedural.tables import make_table


def signed_area(outline):
    x, y = outline.T
    return 0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))


@pytest.mark.parametrize("kind", plan.KINDS)
def test_outlines_are_counter_clockwise_rooms(kind):
    for seed in range(8):
        outline = plan.make_outline(kind, 5.0, 4.0, np.random.default_rng(seed))
        assert 0.45 * 20 < signed_area(outline) < 1.3 * 20
        walls = plan.walls_of(outline)
        assert min(w.length for w in walls) > 0.15
        for wall in walls:  # 1 cm off a wall is inside, 1 cm behind it outside
            points = np.array([wall.at(0.5 * wall.length, d) for d in (0.01, -0.01)])
            assert plan.contains(outline, points).tolist() == [True, False]


def test_unknown_plan_is_named():
    with pytest.raises(ValueError, match="hexagon"):
        plan.make_outline("hexagon", 5.0, 4.0, np.random.default_rng(0))


def test_contains_equals_matplotlib():
    rng = np.random.default_rng(0)
    for kind in plan.KINDS:
        outline = plan.make_outline(kind, 5.0, 4.0, rng)
        points = rng.uniform(-4, 4, (2000, 2))
        expected = Path(outline).contains_points(points)
        np.testing.assert_array_equal(plan.contains(outline, points), expected)


def test_wall_area_is_what_the_openings_leave():
    wall = plan.Wall(np.zeros(2), 4.0, 0.3)
    openings = [plan.Opening(0.5, 1.4, 0.0, 2.0), plan.Opening(2.0, 3.0, 0.9, 2.0)]
    mesh = plan.wall_mesh(wall, openings, 2.5, (1, 1, 1))
    normal = np.array([np.cos(0.3), np.sin(0.3), 0])
    facing = mesh.unit_normals @ normal > 0.999
    area = np.linalg.norm(mesh.normals[facing], axis=1).sum()
    skirting = 0.07 * (4.0 - 0.9)
    assert area == pytest.approx(4.0 * 2.5 - 0.9 * 2.0 - 1.0 * 1.1 + skirting)


def points_in(prism, points):
    """Which points lie in one prism, straight from its definition."""
    x, y, half_x, half_y, yaw, low, high = prism
    shift = points[:, :2] - [x, y]
    along = shift @ [np.cos(yaw), np.sin(yaw)]
    across = shift @ [-np.sin(yaw), np.cos(yaw)]
    flat = (np.abs(along) < half_x) & (np.abs(across) < half_y)
    return flat & (points[:, 2] > low) & (points[:, 2] < high)


def test_overlaps_against_sampled_points():
    rng = np.random.default_rng(0)
    low = [-1, -1, 0.1, 0.1, 0, 0, 0.6]
    prisms = rng.uniform(low, [1, 1, 0.8, 0.8, 6.3, 0.5, 1.5], (40, 7))
    found = lay.overlaps(prisms, prisms, 0.0)
    points = rng.uniform([-2, -2, 0], [2, 2, 1.5], (60_000, 3))
    inside = np.stack([points_in(p, points) for p in prisms])
    shared = inside.astype(np.float32) @ inside.T.astype(np.float32) > 0
    assert not (shared & ~found).any()  # what shares a point overlaps
    assert (found & ~shared).mean() < 0.02  # and hardly anything else does
    assert 0.2 < found.mean() < 0.9


def test_gap_and_height_ranges():
    one = np.array([[0, 0, 0.5, 0.5, 0, 0, 1.0]])
    beside = np.array([[1.05, 0, 0.5, 0.5, 0, 0, 1.0]])
    above = np.array([[0, 0, 0.5, 0.5, 0, 1.0, 2.0]])
    assert not lay.overlaps(one, beside, 0.04).any()
    assert lay.overlaps(one, beside, 0.06).all()
    assert not lay.overlaps(one, above, 0.5).any()


def empty_room(max_pieces=20):
    outline = plan.make_outline("L", 5.0, 5.0, np.random.default_rng(3))
    return lay.Layout(outline, gap=0.02, max_pieces=max_pieces)


def test_furniture_stands_with_its_back_to_a_wall():
    rng = np.random.default_rng(0)
    room = empty_room()
    for _ in range(6):
        pose = lay.place_at_wall(room, make_cabinet(rng, "low"), rng, gap=0.05, front=0.4)
        assert pose is not None
        back_distance = [
            abs((pose[:2] - w.start) @ [np.cos(w.yaw), np.sin(w.yaw)] + bound - 0.05)
            for w in room.walls
            if np.cos(w.yaw - pose[2]) > 0.999
            for bound in [room_bound(room)]
        ]
        assert min(back_distance) < 1e-9
    prisms = np.stack(room.solids)
    assert not np.triu(lay.overlaps(prisms, prisms, 0.0), 1).any()
    assert not lay.overlaps(prisms, np.stack(room.zones), 0.0).any()


def room_bound(room):
    """Back of the newest piece relative to its origin: minus half its depth."""
    return -room.solids[-1][2]


def test_chairs_face_the_table():
    rng = np.random.default_rng(1)
    room = empty_room()
    table = make_table(rng, "conference")
    pose = lay.place_free(room, table, rng, around=0.4)
    index = len(room.solids) - 1
    placed = [
        lay.place_chair(room, make_chair(rng, "dining"), s, index, pose, rng) for s in table.seats
    ]
    assert sum(placed) >= 2
    for x, y, *_, yaw, _, _ in np.stack(room.solids)[1:]:
        toward = pose[:2] - [x, y]
        distance = np.linalg.norm(toward)
        # Facing the near edge: the table's middle is never behind the chair.
        assert toward @ [np.cos(yaw), np.sin(yaw)] > 0.25 * distance


def test_no_more_pieces_than_allowed():
    rng = np.random.default_rng(0)
    room = empty_room(max_pieces=2)
    poses = [lay.place_free(room, make_chair(rng, "stool"), rng) for _ in range(4)]
    assert [p is None for p in poses] == [False, False, True, True]
    assert room.num_pieces == 2
