"""A random walk of an object over the places of a scan where it can stand (section 3.3)."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from fourdc_jax.data.sequences.floor_map import FloorMap, find_candidates, measure_local_floor


@dataclass(frozen=True)
class TrajectoryParams:
    """Steps of a trajectory; metres and degrees.

    step: (shortest, longest) distance between two positions.
    max_turn: change of direction between two steps stays below this angle.
    snap_tolerance: cells by which snapping to a candidate may leave either bound.
    max_starts, max_draws: starting points a walk, and draws a step, before giving up.
    """

    step: tuple[float, float]
    max_turn: float
    snap_tolerance: float
    max_starts: int
    max_draws: int


@dataclass(frozen=True)
class Trajectory:
    """Positions of an object, its heading (radians, 0 along +x) and the floor below it."""

    positions: Float64[np.ndarray, "t 2"]
    headings: Float64[np.ndarray, "t"]
    floors: Float64[np.ndarray, "t"]


@dataclass(frozen=True)
class NoTrajectory:
    """Why no trajectory was found: `candidates` cells to stand on, `starts` walks tried."""

    reason: str
    candidates: int
    starts: int


def turn_angle(before: Float64[np.ndarray, "2"], after: Float64[np.ndarray, "2"]) -> float:
    """Angle between two steps in radians, 0 to pi."""
    cross = before[0] * after[1] - before[1] * after[0]
    return abs(float(np.arctan2(cross, before @ after)))


def is_step_within_bounds(
    step: Float64[np.ndarray, "2"],
    before: Float64[np.ndarray, "2"] | None,
    params: TrajectoryParams,
    cell: float,
) -> bool:
    """Whether a snapped step keeps the distance and the turn to within the snap tolerance.

    For the turn, a tolerance of one cell is the angle that one cell spans at the step's length.
    """
    tolerance = params.snap_tolerance * cell
    length = math.hypot(*step)
    if not params.step[0] - tolerance <= length <= params.step[1] + tolerance or length == 0:
        return False
    if before is None:
        return True
    return turn_angle(before, step) <= math.radians(params.max_turn) + math.atan2(tolerance, length)


def draw_step(
    position: Float64[np.ndarray, "2"],
    before: Float64[np.ndarray, "2"] | None,
    candidates: Float64[np.ndarray, "c 2"],
    params: TrajectoryParams,
    cell: float,
    rng: np.random.Generator,
) -> Float64[np.ndarray, "2"] | None:
    """The candidate nearest to a random step, or None after `max_draws` that break a bound."""
    largest = np.pi if before is None else np.deg2rad(params.max_turn)
    heading = 0.0 if before is None else np.arctan2(before[1], before[0])
    for _ in range(params.max_draws):
        distance = rng.uniform(*params.step)
        angle = heading + rng.uniform(-largest, largest)
        target = position + distance * np.array([np.cos(angle), np.sin(angle)])
        snapped = candidates[np.argmin(np.square(candidates - target).sum(axis=1))]
        if is_step_within_bounds(snapped - position, before, params, cell):
            return snapped
    return None


def draw_trajectory(
    floor_map: FloorMap,
    radius: float,
    num_frames: int,
    params: TrajectoryParams,
    rng: np.random.Generator,
) -> Trajectory | NoTrajectory:
    """A random walk of `num_frames` positions of an object with a bounding sphere of `radius`.

    The heading is the direction of motion: of the step that led to a position, and of the first
    step for the first position. A walk that reaches a dead end starts anew elsewhere.
    """
    candidates = floor_map.cell_centers(find_candidates(floor_map, radius))
    if len(candidates) == 0:
        reason = f"no cell where a bounding sphere of radius {radius:.2f} m stays on valid floor"
        return NoTrajectory(reason, candidates=0, starts=0)
    for _ in range(params.max_starts):
        positions = [candidates[rng.integers(len(candidates))]]
        before = None
        while len(positions) < num_frames:
            position = draw_step(positions[-1], before, candidates, params, floor_map.voxel, rng)
            if position is None:
                break
            before = position - positions[-1]
            positions.append(position)
        else:
            steps = np.diff(np.stack(positions), axis=0)
            headings = np.arctan2(steps[:, 1], steps[:, 0])
            floors = [measure_local_floor(floor_map, p, radius) for p in positions]
            return Trajectory(
                positions=np.stack(positions),
                headings=np.concatenate([headings[:1], headings]),
                floors=np.array(floors),
            )
    reason = f"every walk ended before {num_frames} positions, sphere radius {radius:.2f} m"
    return NoTrajectory(reason, candidates=len(candidates), starts=params.max_starts)
