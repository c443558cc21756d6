"""Class probabilities of any scan from a segmenter: what validation, prediction and scores use."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from jaxtyping import Array, Float32

from fourdc_jax.data.grids.capacity import Rows
from fourdc_jax.data.label_sets import LabelSet
from fourdc_jax.data.scan import Scan
from fourdc_jax.models.backbone import STRIDE_3D, level_strides, receptive_radius
from fourdc_jax.models.inputs import SceneBatch
from fourdc_jax.tasks.segmentation.params import SegmentationParams, read_segmentation_params
from fourdc_jax.tasks.shared.record import SceneRecord, read_scene_record
from fourdc_jax.tasks.shared.scenes import SceneGrid, SceneInference, load_network, mean_over_turns
from fourdc_jax.train.run_config import read_config
from fourdc_jax.train.task import Variables

NAME = "segmentation"  # of the task
BEST_METRIC = "val_miou"  # of the checkpoint that is called the best


class Inference:
    """Runs a segmenter on whole scenes with its running statistics, whatever its variables are."""

    def __init__(
        self, params: SegmentationParams, record: SceneRecord, max_rows: int | None, rotations: int
    ) -> None:
        """Args:
        params, record: of the run.
        max_rows: voxels that run at a time, see `SceneInference`.
        rotations: predictions averaged, of the scan turned about z in equal steps.
        """
        if rotations < 1:
            raise ValueError(f"rotations is {rotations}: it must be at least 1")
        self.params, self.record, self.rotations = params, record, rotations
        strides, data = level_strides(STRIDE_3D), params.data
        grid = SceneGrid(data.voxels, strides, data.capacity, record.rows)
        num_classes = len(record.classes)
        unet = params.make_model(num_classes, record.rows, axis_name=None).encoder_3d.unet
        apply = partial(classify, params, num_classes)
        self.scenes = SceneInference(apply, grid, receptive_radius(unet), max_rows)

    def predict(self, variables: Variables, scan: Scan) -> Float32[np.ndarray, "n classes"]:
        """Probabilities of the classes for every point of a scan; labels are not looked at.

        Raises:
          ValueError: as `SceneInference.run`.
        """
        run = partial(self.scenes.run_points, variables)
        return mean_over_turns(run, replace(scan, labels=None), self.rotations)


@dataclass(frozen=True)
class Predictor:
    """A trained network: scans in, class probabilities of their points out.

    Attributes:
      inference: how it is run.
      variables: parameters and running statistics.
      step: of the checkpoint.
    """

    inference: Inference
    variables: Variables
    step: int

    @property
    def classes(self) -> LabelSet:
        """Names and colours of the classes."""
        return self.inference.record.classes

    @property
    def params(self) -> SegmentationParams:
        """Of the run: `params.data.voxels` is the grid."""
        return self.inference.params

    def predict(self, scan: Scan) -> Float32[np.ndarray, "n classes"]:
        """Probabilities of the classes for every point; see `Inference.predict`."""
        return self.inference.predict(self.variables, scan)


def load_predictor(
    workdir: str | Path,
    *,
    which: Literal["best", "last"] = "best",
    max_rows: int | None = None,
    rotations: int = 1,
) -> Predictor:
    """The network of a fine-tuning run, ready for any scan.

    Args:
      workdir: of the run.
      which: checkpoint: the "best" by validation mIoU on voxels, or the "last".
      max_rows: voxels that run at a time; larger scans are tiled. None: as many as fit.
      rotations: predictions averaged, of the scan turned about z in equal steps.

    It runs with the sparse operations of this machine, whatever the run was trained with.

    Raises:
      FileNotFoundError: the workdir is not that of a fine-tuning run, or holds no checkpoint.
      ValueError: it holds none that was validated, and the best is asked for.
    """
    workdir = Path(workdir).expanduser()
    record = read_scene_record(workdir, NAME)
    params = read_segmentation_params(read_config(workdir))
    variables, step = load_network(workdir, which, BEST_METRIC)
    here = replace(params, implementation="auto")
    return Predictor(Inference(here, record, max_rows, rotations), variables, step)


def classify(
    params: SegmentationParams,
    num_classes: int,
    variables: Variables,
    batch: SceneBatch,
    rows: Rows,
) -> Float32[Array, "v classes"]:
    """Class probabilities of the voxels of one scene, its padding included."""
    model = params.make_model(num_classes, rows, axis_name=None)
    return jax.nn.softmax(model.apply(variables, batch, train=False).logits, axis=1)
