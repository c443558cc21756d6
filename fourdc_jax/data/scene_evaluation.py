"""Whole scenes for evaluation and prediction: one a batch, with the way back to their points."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32

from fourdc_jax.data.scan import Scan
from fourdc_jax.data.scene_batches import Rows, collate_scenes
from fourdc_jax.data.scene_capacity import SceneCapacityParams, choose_evaluation_rows
from fourdc_jax.data.scene_samples import SceneVoxelParams, Source, voxelize_scene


@dataclass(frozen=True)
class EvaluationScene:
    """One scene, as it is.

    Attributes:
      scan: points and their classes.
      batch: as `collate_scenes`; `labels` are those of the voxels.
      rows: capacity at every level: scenes with equal rows run the same program.
      point_to_voxel: row of the voxel each point lies in, whose centre is the nearest one.
    """

    scan: Scan
    batch: dict[str, np.ndarray]
    rows: Rows
    point_to_voxel: Int32[np.ndarray, "n"]


def make_evaluation_scene(
    scan: Scan, voxels: SceneVoxelParams, training: Rows, params: SceneCapacityParams
) -> EvaluationScene:
    """A scan, labelled or not, as a batch of its own.

    `training` is the capacity of a training batch, whose multiples are the capacities here.

    Raises:
      ValueError: the scan has no points, coordinates that are no numbers, or lacks colours.
    """
    sample, point_to_voxel = voxelize_scene(scan, voxels)
    rows = choose_evaluation_rows(sample.needed, training, params)
    return EvaluationScene(scan, collate_scenes([sample], rows), rows, point_to_voxel)


def iterate_scenes(
    scans: Source, voxels: SceneVoxelParams, training: Rows, params: SceneCapacityParams
) -> Iterator[EvaluationScene]:
    """Every scene once, in order."""
    for index in range(len(scans)):
        yield make_evaluation_scene(scans[index], voxels, training, params)
