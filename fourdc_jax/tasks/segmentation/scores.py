"""Segmentation scores of whole scenes: on voxels, as the papers report them, and on points."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int64, Integer

from fourdc_jax.data.label_sets import IGNORE_LABEL
from fourdc_jax.data.scan import Scan
from fourdc_jax.data.scenes.from_config import DataParams, open_split
from fourdc_jax.data.scenes.samples import VoxelParams, voxelize
from fourdc_jax.data.sources.labelled import LabelledScans
from fourdc_jax.evaluation.segmentation import confusion, scores
from fourdc_jax.params import read_params
from fourdc_jax.results.runs import Run
from fourdc_jax.tasks.segmentation.inference import NAME, Predictor
from fourdc_jax.tasks.shared.comparison import Progress
from fourdc_jax.tasks.shared.record import SceneRecord, read_scene_record

METRICS = ("val_miou", "val_macc", "val_miou_points", "val_macc_points", "val_overall")


class Confusions(NamedTuple):
    """Confusion matrices, rows = target: of voxels (those of disagreeing points left out), points.

    They add up over scenes and processes.
    """

    voxels: Int64[np.ndarray, "c c"]
    points: Int64[np.ndarray, "c c"]


def compare(
    probabilities: Float[np.ndarray, "n classes"], scan: Scan, voxels: VoxelParams
) -> Confusions:
    """Predictions for a labelled scan's points against their classes.

    A voxel's prediction is the class with the highest mean probability of its points.

    Args:
      probabilities: of the classes, for every point.
      scan: its labels are classes 0 .. C-1 or `IGNORE_LABEL`.
      voxels: the grid on which the network ran.
    """
    num_classes = probabilities.shape[1]
    sample, rows = voxelize(scan, voxels)
    columns = [np.bincount(rows, column, sample.size) for column in probabilities.T]
    sums = np.stack(columns, axis=1)
    return Confusions(
        confusion(sums.argmax(axis=1), sample.labels, num_classes, IGNORE_LABEL),
        confusion(probabilities.argmax(axis=1), scan.labels, num_classes, IGNORE_LABEL),
    )


def evaluate_scenes(
    predict: Callable[[Scan], Float[np.ndarray, "n classes"]],
    scans: Iterable[Scan],
    voxels: VoxelParams,
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


@dataclass(frozen=True)
class Validation:
    """What the runs are evaluated on.

    Attributes:
      scenes: labelled with the classes.
      record: of the first run; the others have the same classes.
    """

    scenes: LabelledScans
    record: SceneRecord


def open_shared_validation(runs: Sequence[Run]) -> Validation:
    """The validation scenes and the classes that all runs share.

    Raises:
      FileNotFoundError: a workdir is none of this task, or its scenes are not where they were.
      ValueError: a run has other classes or validation scenes than the first one.
    """
    first, *others = runs
    record = read_scene_record(first.workdir, NAME)
    records = [read_scene_record(run.workdir, NAME) for run in others]
    scenes = open_validation(first, record)
    for run, own in zip(others, records):
        same_classes = own.classes.names == record.classes.names
        if not same_classes or open_validation(run, own).names != scenes.names:
            raise ValueError(
                f"{run.workdir} has other {'validation scenes' if same_classes else 'classes'} "
                f"than {first.workdir}: their scores do not compare"
            )
    return Validation(scenes, record)


def open_validation(run: Run, record: SceneRecord) -> LabelledScans:
    """A run's validation scenes, labelled with its classes.

    Raises:
      FileNotFoundError, ValueError: they are not where its config says, or not as it says.
    """
    data = read_data(run)
    scans = open_split(data, data.validation)
    return LabelledScans(scans, record.label_set, len(record.classes))


def read_data(run: Run) -> DataParams:
    """A run's `config.data`."""
    return read_params(DataParams, run.config["data"], f"{run.workdir}: config.data")


def evaluate_run(
    run: Run,
    validation: Validation,
    predictor: Callable[[], Predictor],
    progress: Progress,
) -> dict[str, Any]:
    """Scores of a finished run as JSON values.

    Args:
      run: whose grid the scenes are compared on.
      validation: what it is evaluated on.
      predictor: loads its network.
      progress: shows how far it is while the scenes go through it.

    Returns:
      "classes", and for "voxels", as the papers count, and "points" each the "confusion" and its
      scores, see `as_values`.
    """
    names, voxels = validation.record.classes.names, read_data(run).voxels
    scenes = progress(validation.scenes, run)
    found = evaluate_scenes(predictor().predict, scenes, voxels, len(names))
    levels = {level: as_values(matrix) for level, matrix in found._asdict().items()}
    return {"classes": list(names), **levels}


def as_values(confusion: Integer[np.ndarray, "c c"]) -> dict[str, Any]:
    """A confusion matrix and its scores as JSON values; null for a score that does not exist."""
    found = {key: np.asarray(value) for key, value in scores(confusion).items()}
    values = {key: np.where(np.isnan(v), None, v).tolist() for key, v in found.items()}
    return {**values, "confusion": confusion.tolist()}
