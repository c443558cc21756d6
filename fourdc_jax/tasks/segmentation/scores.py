"""Segmentation scores of whole scenes: on voxels, as the papers report them, and on points."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64

from fourdc_jax.data.label_sets import IGNORE_LABEL
from fourdc_jax.data.scan import Scan
from fourdc_jax.data.scenes.samples import SceneVoxelParams, voxelize_scene
from fourdc_jax.evaluation.segmentation import confusion, scores

METRICS = ("val_miou", "val_macc", "val_miou_points", "val_macc_points", "val_overall")


class Confusions(NamedTuple):
    """Confusion matrices, rows = target: of voxels (those of disagreeing points left out), points.

    They add up over scenes and processes.
    """

    voxels: Int64[np.ndarray, "c c"]
    points: Int64[np.ndarray, "c c"]


def compare(
    probabilities: Float[np.ndarray, "n classes"], scan: Scan, voxels: SceneVoxelParams
) -> Confusions:
    """Predictions for a labelled scan's points against their classes.

    A voxel's prediction is the class with the highest mean probability of its points.

    Args:
      probabilities: of the classes, for every point.
      scan: its labels are classes 0 .. C-1 or `IGNORE_LABEL`.
      voxels: the grid on which the network ran.
    """
    num_classes = probabilities.shape[1]
    sample, rows = voxelize_scene(scan, voxels)
    size = len(sample.coords)
    sums = np.stack([np.bincount(rows, column, size) for column in probabilities.T], axis=1)
    return Confusions(
        confusion(sums.argmax(axis=1), sample.labels, num_classes, IGNORE_LABEL),
        confusion(probabilities.argmax(axis=1), scan.labels, num_classes, IGNORE_LABEL),
    )


def evaluate_scenes(
    predict: Callable[[Scan], Float[np.ndarray, "n classes"]],
    scans: Iterable[Scan],
    voxels: SceneVoxelParams,
    num_classes: int,
) -> Confusions:
    """The confusion matrices of all scenes together.

    Args:
      predict: class probabilities of a scan's points.
      scans: labelled, as `compare` takes them.
      voxels: the grid on which the network ran.
      num_classes: C.
    """
    total = Confusions(*np.zeros((2, num_classes, num_classes), np.int64))
    for scan in scans:
        total = add([total, compare(predict(scan), scan, voxels)])
    return total


def add(parts: Iterable[Confusions]) -> Confusions:
    """The sum of confusion matrices."""
    voxels, points = zip(*parts)
    return Confusions(sum(voxels[1:], voxels[0]), sum(points[1:], points[0]))


def summarize(confusions: Confusions) -> dict[str, float]:
    """The means, by the names in `METRICS`; `val_overall` is the share of voxels that are right.

    Raises:
      ValueError: no voxel has a class.
    """
    if confusions.voxels.sum() == 0:
        raise ValueError(
            "no voxel of the validation scenes has a class: give labelled scenes, or check "
            "config.data.classes and the voxel size"
        )
    voxels, points = scores(confusions.voxels), scores(confusions.points)
    return {
        "val_miou": voxels["miou"],
        "val_macc": voxels["macc"],
        "val_miou_points": points["miou"],
        "val_macc_points": points["macc"],
        "val_overall": voxels["overall"],
    }
