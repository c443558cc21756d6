"""Any network over any scene: whole or in tiles, as memory allows, and turned about z."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Float32, Int32

from fourdc_jax.data.geometry import turn_points
from fourdc_jax.data.grids.capacity import Rows
from fourdc_jax.data.grids.voxelization import LevelStrides
from fourdc_jax.data.scan import Scan
from fourdc_jax.data.scenes.batches import join_samples
from fourdc_jax.data.scenes.capacity import CapacityParams, choose_evaluation_rows
from fourdc_jax.data.scenes.samples import Sample, VoxelParams, select_rows, voxelize
from fourdc_jax.data.scenes.tiles import split_into_tiles
from fourdc_jax.models.inputs import SceneBatch
from fourdc_jax.train.checkpoints import FOLDER, find_step, load_variables
from fourdc_jax.train.memory import NoMemory, check_memory, is_out_of_memory
from fourdc_jax.train.task import Variables

log = logging.getLogger(__name__)

LEAST_ROWS = 1024  # voxels of a tile below which memory cannot be what is missing

# (variables, batch, its rows at every level) -> pytree of arrays [v, ...], an entry for each voxel
Apply = Callable[[Variables, SceneBatch, Rows], Any]


@dataclass(frozen=True)
class SceneGrid:
    """How a task sees scenes.

    Attributes:
      voxels: the grid and its features.
      strides: of the network's levels after the first.
      capacity: how the rows of programs grow.
      rows: of a training micro-batch, of which the programs' are multiples.
    """

    voxels: VoxelParams
    strides: LevelStrides
    capacity: CapacityParams
    rows: Rows


class SceneInference:
    """Runs a network on whole scenes, whatever its variables are.

    Scenes of similar size share a compiled program. A scene of more than `max_rows` voxels, or one
    that needs more memory than there is, is run in tiles, see `fourdc_jax.data.scenes.tiles`: each
    sees its neighbours in a margin as wide as the network's receptive field, which changes nothing
    but rounding. Where so wide a margin leaves no room for the tile itself, it is narrowed, and
    values near the borders of tiles are those of a network that sees less far.
    """

    def __init__(self, apply: Apply, grid: SceneGrid, margin: int, max_rows: int | None) -> None:
        """Args:
        apply: the network in evaluation, a function of one program for each `rows`.
        grid: how it sees scenes.
        margin: voxels along an axis beyond which nothing changes a voxel's values.
        max_rows: voxels that run at a time (memory grows with up to `capacity.growth` times as
          many); None runs a scene at once if it fits into memory.
        """
        if max_rows is not None and max_rows < 1:
            raise ValueError(f"max_rows is {max_rows}: it must be at least 1")
        self.grid, self.max_rows = grid, max_rows
        self._margin = margin
        self._apply = jax.jit(apply, static_argnums=2)
        self._programs: dict[Rows, Any] = {}  # compiled, by their capacity

    def run(self, variables: Variables, scan: Scan) -> tuple[Any, Int32[np.ndarray, "n"]]:
        """What the network says of a scan's voxels, and the voxel of each point.

        Raises:
          ValueError: no points, coordinates that are not finite, colours missing where the network
            needs them, or a `max_rows` too small for any tile.
        """
        sample, point_to_voxel = voxelize(scan, self.grid.voxels, self.grid.strides)
        while True:
            try:
                return self._run_tiles(variables, sample), point_to_voxel
            except (NoMemory, jax.errors.JaxRuntimeError) as error:
                tried = min(self.max_rows or sample.size, sample.size)
                if not is_out_of_memory(error) or tried <= LEAST_ROWS:
                    raise
                self.max_rows = max(tried // 2, LEAST_ROWS)
                log.warning(
                    "scan %r: %d voxels at a time do not fit into memory, trying %d",
                    *(scan.name, tried, self.max_rows),
                )

    def run_points(self, variables: Variables, scan: Scan) -> Any:
        """What the network says of the voxel of every point: a pytree of arrays [n, ...]."""
        values, point_to_voxel = self.run(variables, scan)
        return jax.tree.map(lambda leaf: leaf[point_to_voxel], values)

    def _run_tiles(self, variables: Variables, sample: Sample) -> Any:
        """For the voxels of a scene, in tiles where it has more than `max_rows`."""
        if self.max_rows is None or sample.size <= self.max_rows:
            return self._run_rows(variables, sample)
        whole = None
        for tile in split_into_tiles(sample.grid.coords[:, 1:], self.max_rows, self._margin):
            part = select_rows(sample, tile.rows, self.grid.strides)
            values = self._run_rows(variables, part)
            if whole is None:
                whole = jax.tree.map(partial(empty_like, sample.size), values)
            for all_rows, own in zip(jax.tree.leaves(whole), jax.tree.leaves(values)):
                all_rows[tile.rows[tile.own]] = own[tile.own]
        return whole

    def _run_rows(self, variables: Variables, sample: Sample) -> Any:
        """For the voxels of one sample."""
        rows = choose_evaluation_rows(sample.needed, self.grid.rows, self.grid.capacity)
        batch = join_samples([sample], rows)
        if rows not in self._programs:
            self._programs[rows] = self._apply.lower(variables, batch, rows).compile()
        check_memory(self._programs[rows])
        values = self._programs[rows](variables, batch)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: sample.size], values)


def load_network(
    workdir: Path, which: Literal["best", "last"], best_metric: str
) -> tuple[Variables, int]:
    """Variables of a run's checkpoint, on the device, and its step.

    Args:
      workdir: of the run.
      which: the "best" by a metric of validation, or the "last".
      best_metric: the metric.

    Raises:
      FileNotFoundError: the workdir holds no checkpoint.
      ValueError: it holds none that was validated, and the best is asked for.
    """
    step = find_step(workdir, best_metric=best_metric if which == "best" else "")
    return jax.device_put(load_variables(workdir / FOLDER / str(step))), step


def empty_like(size: int, values: np.ndarray) -> np.ndarray:
    """An array of so many entries like those given, not yet filled."""
    return np.empty((size, *values.shape[1:]), values.dtype)


def mean_over_turns(
    predict: Callable[[Scan], Float32[np.ndarray, "n c"]], scan: Scan, rotations: int
) -> Float32[np.ndarray, "n c"]:
    """The mean prediction for a scan turned about z in so many equal steps.

    Args:
      predict: values of a scan's points that do not turn with it, such as probabilities.
      scan: as it is: the first of the turns.
      rotations: at least 1, which is `predict` itself.
    """
    total = predict(scan)
    for index in range(1, rotations):
        total += predict(turn(scan, 2 * math.pi * index / rotations))
    return total / np.float32(rotations)


def turn(scan: Scan, angle: float) -> Scan:
    """The scan turned about z, in radians, around the middle of its box."""
    return replace(scan, points=turn_points(scan.points, angle), boxes=None)
