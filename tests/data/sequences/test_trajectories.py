import dataclasses
import itertools

import numpy as np
import pytest

from fourdc_jax.data.sequences.floor_map import find_candidates
from fourdc_jax.data.sequences.trajectories import (
    NoTrajectory,
    Trajectory,
    draw_step,
    draw_trajectory,
    is_step_within_bounds,
    turn_angle,
)

RADIUS = 0.4


def draw(room, params, seed, radius=RADIUS, num_frames=4):
    rng = np.random.default_rng(seed)
    return draw_trajectory(room.floor_map, radius, num_frames, params.trajectory, rng)


def test_every_position_is_a_candidate_and_every_step_within_bounds(room, params):
    centers = room.floor_map.cell_centers(find_candidates(room.floor_map, RADIUS))
    allowed = {tuple(center) for center in centers}
    lengths, turns = [], []
    for seed in range(100):
        found = draw(room, params, seed)
        assert isinstance(found, Trajectory)
        assert len(found.positions) == len(found.headings) == len(found.floors) == 4
        assert {tuple(position) for position in found.positions} <= allowed
        steps = np.diff(found.positions, axis=0)
        lengths += np.hypot(*steps.T).tolist()
        angles = np.arctan2(steps[:, 1], steps[:, 0])
        np.testing.assert_allclose(found.headings, [angles[0], *angles])
        change = np.abs((np.diff(angles) + np.pi) % (2 * np.pi) - np.pi)
        turns += np.rad2deg(change).tolist()
        assert (np.rad2deg(change) < 150 + np.rad2deg(np.arctan(0.1 / 0.2))).all()
    assert min(lengths) >= 0.2 - 1e-9
    assert max(lengths) <= 1.0 + 1e-9
    assert np.std(lengths) > 0.1  # the whole range is used
    assert max(turns) > 100
    assert np.median(turns) > 30


def test_the_starting_points_spread_over_the_candidates(room, params):
    starts = np.stack([draw(room, params, seed).positions[0] for seed in range(200)])
    centers = room.floor_map.cell_centers(find_candidates(room.floor_map, RADIUS))
    np.testing.assert_allclose(starts.mean(axis=0), centers.mean(axis=0), atol=0.25)
    assert len(np.unique(starts, axis=0)) > 60


def test_the_same_seed_gives_the_same_trajectory(room, params):
    first, second, other = draw(room, params, 3), draw(room, params, 3), draw(room, params, 4)
    np.testing.assert_array_equal(first.positions, second.positions)
    assert not np.array_equal(first.positions, other.positions)


def test_no_place_for_a_large_object_is_a_reason_with_counts(room, params):
    found = draw(room, params, 0, radius=3.0)
    assert found == NoTrajectory(found.reason, candidates=0, starts=0)
    assert "3.00 m" in found.reason


def test_one_lonely_candidate_ends_after_the_starts_allowed(room, params):
    floor_map = room.floor_map
    alone = np.zeros_like(floor_map.clearance)
    alone[np.unravel_index(np.argmax(floor_map.clearance), alone.shape)] = 5.0
    floor_map = dataclasses.replace(floor_map, clearance=alone)
    rng = np.random.default_rng(0)
    found = draw_trajectory(floor_map, 1.0, 4, params.trajectory, rng)
    assert isinstance(found, NoTrajectory)
    assert (found.candidates, found.starts) == (1, params.trajectory.max_starts)


def test_a_corridor_of_two_cells_allows_no_way_back(params):
    """Forth and back is a turn of 180 degrees: beyond the bound and its tolerance."""
    candidates = np.array([[0.0, 0.0], [0.6, 0.0]])
    rng = np.random.default_rng(0)
    first = draw_step(candidates[0], None, candidates, params.trajectory, 0.1, rng)
    np.testing.assert_array_equal(first, candidates[1])
    before = candidates[1] - candidates[0]
    assert draw_step(candidates[1], before, candidates, params.trajectory, 0.1, rng) is None


def test_a_step_snaps_to_the_nearest_candidate(params):
    """Replays the draws of a step by hand."""
    candidates = np.random.default_rng(5).uniform(-2, 2, (4000, 2))
    found = draw_step(
        np.zeros(2), None, candidates, params.trajectory, 0.1, np.random.default_rng(7)
    )
    rng = np.random.default_rng(7)
    distance, angle = rng.uniform(0.3, 0.9), rng.uniform(-np.pi, np.pi)
    target = distance * np.array([np.cos(angle), np.sin(angle)])
    nearest = min(candidates.tolist(), key=lambda c: np.hypot(c[0] - target[0], c[1] - target[1]))
    np.testing.assert_array_equal(found, nearest)


@pytest.mark.parametrize(
    ("length", "angle", "expected"),
    [
        (0.201, 0, True),
        (0.199, 0, False),
        (0.999, 0, True),
        (1.001, 0, False),
        (0.5, 149, True),
        (0.5, 150 + np.rad2deg(np.arctan(0.2)) - 0.1, True),
        (0.5, 150 + np.rad2deg(np.arctan(0.2)) + 0.1, False),
        (0.5, -150 - np.rad2deg(np.arctan(0.2)) - 0.1, False),
        (0.5, -149, True),
    ],
)
def test_a_snapped_step_may_leave_a_bound_by_one_cell(params, length, angle, expected):
    before = np.array([0.4, 0.3])
    heading = np.arctan2(0.3, 0.4) + np.deg2rad(angle)
    step = length * np.array([np.cos(heading), np.sin(heading)])
    assert is_step_within_bounds(step, before, params.trajectory, 0.1) == expected


def test_without_tolerance_the_bounds_are_the_papers(room, params):
    strict = dataclasses.replace(params.trajectory, snap_tolerance=0.0)
    for seed in range(30):
        found = draw_trajectory(room.floor_map, RADIUS, 4, strict, np.random.default_rng(seed))
        steps = np.diff(found.positions, axis=0)
        assert (np.hypot(*steps.T) >= 0.3).all()
        assert (np.hypot(*steps.T) <= 0.9).all()
        for before, after in itertools.pairwise(steps):
            assert turn_angle(before, after) <= np.deg2rad(150)


def test_a_step_of_no_length_is_never_taken(params):
    free = dataclasses.replace(params.trajectory, step=(0.0, 0.1), snap_tolerance=1.0)
    assert not is_step_within_bounds(np.zeros(2), None, free, 0.1)
