import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fourdc_jax.data.sequences.floor_map import (
    build_floor_map,
    estimate_floor,
    find_candidates,
    find_holes,
    measure_clearance,
    measure_local_floor,
)


def squares_under_disc(center, radius, cell, origin, shape):
    """Mask of the cells whose square the open disc overlaps, cell by cell."""
    covered = np.zeros(shape, bool)
    for i in range(shape[0]):
        for j in range(shape[1]):
            low = (origin + np.array([i, j])) * cell
            nearest = np.clip(center, low, low + cell)
            covered[i, j] = np.hypot(*(nearest - center)) < radius - 1e-6
    return covered


def test_map_equals_counting_voxels_cell_by_cell(room, params):
    bounds = params.floor_map
    found = room.floor_map
    points = room.points.astype(np.float64)
    cells = np.floor(points[:, :2] / bounds.voxel).astype(int)
    layers = np.floor((points[:, 2] - found.floor_height) / bounds.voxel + 0.5).astype(int)
    columns = {}
    for cell, layer, z in zip(map(tuple, cells), layers, points[:, 2]):
        columns.setdefault(cell, []).append((layer, z))
    seen = np.zeros(found.valid.shape, bool)
    for cell, entries in columns.items():
        place = tuple(np.array(cell) - found.origin)
        seen[place] = True
        count = len({layer for layer, _ in entries})
        top = max(z for _, z in entries)
        assert found.accumulation[place] == count
        assert found.top[place] == np.float32(top)
        expected = count <= 1 and abs(top - found.floor_height) <= 0.2
        assert found.valid[place] == expected
    assert (found.accumulation[~seen] == 0).all()
    assert np.isnan(found.top[~seen]).all()
    assert 0.3 < found.valid.mean() < 0.9


@pytest.mark.parametrize("height", [0.0, 0.1, -0.3, 0.05, 7.77])
def test_a_noisy_floor_is_valid_wherever_it_lies_in_the_grid(params, height):
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.uniform(0, 2, (8000, 2)), rng.normal(height, 0.01, (8000, 1))], 1)
    found = build_floor_map(points.astype(np.float32), params.floor_map)
    assert found.floor_height == pytest.approx(height, abs=2e-3)
    assert found.valid.all()


def test_table_tops_and_walls_are_not_valid_and_tables_hide_the_floor(room):
    found = room.floor_map
    table = np.floor(np.array([-0.7, 2.6]) / found.voxel).astype(int) - found.origin
    wall = np.floor(np.array([-1.3 + 0.002, 3.5]) / found.voxel).astype(int) - found.origin
    free = np.floor(np.array([0.7, 4.0]) / found.voxel).astype(int) - found.origin
    assert not found.valid[tuple(table)]
    assert not found.valid[tuple(wall)]
    assert found.valid[tuple(free)]


def test_floor_is_estimated_between_stray_points_and_furniture():
    rng = np.random.default_rng(1)
    floor = rng.normal(0.5, 0.01, 3000)
    others = np.concatenate([rng.uniform(-2, 0.3, 30), rng.uniform(0.7, 2.5, 400)])
    cells = np.concatenate([np.arange(3000) // 10, 300 + np.arange(430)])
    found = estimate_floor(cells, np.concatenate([floor, others]), 0.1)
    assert found == pytest.approx(0.5, abs=2e-3)


def test_of_two_equal_windows_the_lower_is_the_floor():
    assert estimate_floor(np.arange(4), np.array([0.75, 0.0, 0.76, 0.01]), 0.1) == pytest.approx(
        0.005
    )


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_clearance_is_the_exact_distance_to_squares_that_are_not_valid(valid):
    cell = 0.1
    found = measure_clearance(valid, cell)
    blocked = np.argwhere(~np.pad(valid, 1)) - 1
    for i, j in np.ndindex(valid.shape):
        center = (np.array([i, j]) + 0.5) * cell
        nearest = np.clip(center, blocked * cell, (blocked + 1) * cell)
        expected = np.hypot(*(nearest - center).T).min()
        assert found[i, j] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("radius", [0.05, 0.3, 0.52])
def test_candidates_are_exactly_the_cells_whose_disc_covers_valid_cells_only(room, radius):
    found = room.floor_map
    candidates = {tuple(cell) for cell in find_candidates(found, radius).tolist()}
    valid = np.pad(found.valid, 8)  # outside of the map nothing is valid
    origin = found.origin - 8
    assert candidates
    rng = np.random.default_rng(0)
    for i, j in rng.permutation(np.argwhere(found.valid))[:60].tolist():
        center = found.cell_centers(np.array([[i, j]]))[0]
        covered = squares_under_disc(center, radius, found.voxel, origin, valid.shape)
        assert ((i, j) in candidates) == bool(valid[covered].all())


def test_small_holes_inside_count_as_floor_and_others_do_not():
    empty = np.zeros((9, 9), bool)
    empty[2, 2] = empty[3, 3] = True  # diagonal neighbours are one hole of two cells
    empty[5:8, 5:8] = True  # nine cells
    empty[0, 4] = True  # at the border
    expected = np.zeros_like(empty)
    expected[2, 2] = expected[3, 3] = True
    np.testing.assert_array_equal(find_holes(empty, 2, ~empty), expected)
    assert not find_holes(empty, 1, ~empty).any()
    assert find_holes(empty, 9, ~empty).sum() == 11


def test_a_gap_in_furniture_is_no_hole_in_the_floor():
    empty = np.zeros((9, 9), bool)
    empty[2, 2] = empty[6, 6] = True
    floor = ~empty
    floor[1, 1] = False  # touches the first one's corner
    expected = np.zeros_like(empty)
    expected[6, 6] = True
    np.testing.assert_array_equal(find_holes(empty, 4, floor), expected)


def test_max_hole_opens_a_hole_of_the_scan(params):
    x, y = np.meshgrid(np.arange(0.05, 3, 0.1), np.arange(0.05, 3, 0.1))
    points = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], 1).astype(np.float32)
    points = points[np.abs(points[:, :2] - 1.5).max(axis=1) > 0.12]  # 2 x 2 cells
    for area, opened in ((0.03, False), (0.04, True)):
        bounds = dataclasses.replace(params.floor_map, max_hole=area)
        assert build_floor_map(points, bounds).valid[14, 14] == opened


def test_local_floor_follows_a_ramp(params):
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 3, (40_000, 3))
    points[:, 2] = 0.05 * points[:, 0]
    found = build_floor_map(points.astype(np.float32), params.floor_map)
    for x in (0.75, 1.55, 2.25):
        height = measure_local_floor(found, np.array([x, 1.5]), 0.4)
        assert height == pytest.approx(0.05 * x, abs=5e-3)


def test_an_empty_scan_is_refused(params):
    with pytest.raises(ValueError, match="at least one point"):
        build_floor_map(np.zeros((0, 3), np.float32), params.floor_map)
