"""Class probabilities of any scan from a segmenter: what validation, prediction and scores use."""

import json
import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Array, Float32

from fourdc_jax.data.geometry import turn_points
from fourdc_jax.data.grids.capacity import Rows
from fourdc_jax.data.label_sets import LabelSet
from fourdc_jax.data.scan import Scan
from fourdc_jax.data.scenes.batches import join_samples
from fourdc_jax.data.scenes.capacity import choose_evaluation_rows
from fourdc_jax.data.scenes.samples import Sample, select_rows, voxelize
from fourdc_jax.data.scenes.tiles import split_into_tiles
from fourdc_jax.files import read_json, write_atomically
from fourdc_jax.models.backbone import STRIDE_3D, level_strides, receptive_radius
from fourdc_jax.models.inputs import SceneBatch
from fourdc_jax.models.segmenter import Segmenter
from fourdc_jax.tasks.segmentation.params import SegmentationParams, read_segmentation_params
from fourdc_jax.train import run_config
from fourdc_jax.train.checkpoints import FOLDER, find_step, has_checkpoint, load_variables
from fourdc_jax.train.memory import NoMemory, check_memory, is_out_of_memory
from fourdc_jax.train.task import Variables

log = logging.getLogger(__name__)

BEST_METRIC = "val_miou"  # of the checkpoint that is called the best
RECORD_FILE = "segmentation.json"
LEVEL_STRIDES = level_strides(STRIDE_3D)
LEAST_ROWS = 1024  # voxels of a tile below which memory cannot be what is missing


@dataclass(frozen=True)
class Record:
    """What prediction must know of a run besides its config, in the workdir.

    Attributes:
      label_set: "scannet20", "s3dis" or "file".
      classes: names and colours.
      rows: capacity of a training batch.
    """

    label_set: str
    classes: LabelSet
    rows: Rows

    def write(self, workdir: Path) -> None:
        """Writes `<workdir>/segmentation.json`.

        Raises:
          ValueError: the workdir holds checkpoints of a network with other classes.
        """
        if has_checkpoint(workdir) and (Path(workdir) / RECORD_FILE).is_file():
            before = self.read(workdir)
            if (before.label_set, before.classes.names) != (self.label_set, self.classes.names):
                raise ValueError(
                    f"{workdir} holds a network for the classes {', '.join(before.classes.names)}; "
                    f"the scenes now have {', '.join(self.classes.names)}: choose a new --workdir"
                )
        text = json.dumps(asdict(self), indent=2) + "\n"
        write_atomically(Path(workdir) / RECORD_FILE, text)

    @classmethod
    def read(cls, workdir: Path) -> "Record":
        """Reads it.

        Raises:
          FileNotFoundError: the workdir is not that of a fine-tuning run.
        """
        path = Path(workdir) / RECORD_FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"{workdir} has no {RECORD_FILE}: name the workdir of a run of "
                "experiments/finetune.py"
            )
        values = read_json(path)
        names, colors = values["classes"]["names"], values["classes"]["colors"]
        classes = LabelSet(tuple(names), tuple(map(tuple, colors)))
        return cls(values["label_set"], classes, tuple(values["rows"]))


class SceneInference:
    """Runs a segmenter on whole scenes with its running statistics, whatever its variables are.

    Scenes of similar size share a compiled program. A scene of more than `max_rows` voxels, or one
    that needs more memory than there is, is run in tiles, see `fourdc_jax.data.scenes.tiles`: each
    sees its neighbours in a margin as wide as the network's receptive field, which changes nothing
    but rounding. Where so wide a margin leaves no room for the tile itself, it is narrowed, and
    predictions near the borders of tiles are those of a network that sees less far.
    """

    def __init__(
        self, params: SegmentationParams, record: Record, max_rows: int | None, rotations: int
    ) -> None:
        """Args:
        params, record: of the run.
        max_rows: voxels that run at a time (memory grows with up to `capacity.growth` times as
          many); None runs a scene at once if it fits into memory.
        rotations: predictions averaged, of the scan turned about z in equal steps.
        """
        if rotations < 1 or (max_rows is not None and max_rows < 1):
            raise ValueError(
                f"rotations is {rotations} and max_rows {max_rows}: each must be at least 1"
            )
        self.params, self.record = params, record
        self.max_rows, self.rotations = max_rows, rotations
        make_model = partial(params.make_model, len(record.classes), axis_name=None)
        self._margin = receptive_radius(make_model(record.rows).encoder_3d.unet)
        self._run = jax.jit(partial(run_network, make_model), static_argnames="rows")
        self._programs: dict[Rows, Any] = {}  # compiled, by their capacity

    def predict(self, variables: Variables, scan: Scan) -> Float32[np.ndarray, "n classes"]:
        """Probabilities of the classes for every point of a scan; labels are not looked at.

        Raises:
          ValueError: no points, coordinates that are not finite, colours missing where the network
            needs them, or a `max_rows` too small for any tile.
        """
        scan = replace(scan, labels=None)
        probabilities = self._predict_once(variables, scan)
        for index in range(1, self.rotations):
            turned = turn(scan, 2 * math.pi * index / self.rotations)
            probabilities += self._predict_once(variables, turned)
        return probabilities / np.float32(self.rotations)

    def _predict_once(self, variables: Variables, scan: Scan) -> Float32[np.ndarray, "n classes"]:
        """Without test-time rotations: every point has what its voxel has."""
        voxels = self.params.data.voxels
        sample, point_to_voxel = voxelize(scan, voxels, LEVEL_STRIDES)
        while True:
            try:
                return self._predict_tiles(variables, sample)[point_to_voxel]
            except (NoMemory, jax.errors.JaxRuntimeError) as error:
                tried = min(self.max_rows or sample.size, sample.size)
                if not is_out_of_memory(error) or tried <= LEAST_ROWS:
                    raise
                self.max_rows = max(tried // 2, LEAST_ROWS)
                log.warning(
                    "scan %r: %d voxels at a time do not fit into memory, trying %d",
                    *(scan.name, tried, self.max_rows),
                )

    def _predict_tiles(
        self, variables: Variables, sample: Sample
    ) -> Float32[np.ndarray, "v classes"]:
        """For the voxels of a scene, in tiles where it has more than `max_rows`."""
        if self.max_rows is None or sample.size <= self.max_rows:
            return self._predict_rows(variables, sample)
        probabilities = np.empty((sample.size, len(self.record.classes)), np.float32)
        for tile in split_into_tiles(sample.grid.coords[:, 1:], self.max_rows, self._margin):
            part = select_rows(sample, tile.rows, LEVEL_STRIDES)
            own = self._predict_rows(variables, part)[tile.own]
            probabilities[tile.rows[tile.own]] = own
        return probabilities

    def _predict_rows(
        self, variables: Variables, sample: Sample
    ) -> Float32[np.ndarray, "v classes"]:
        """For the voxels of one sample."""
        rows = choose_evaluation_rows(sample.needed, self.record.rows, self.params.data.capacity)
        batch = join_samples([sample], rows)
        if rows not in self._programs:
            self._programs[rows] = self._run.lower(variables, batch, rows=rows).compile()
        check_memory(self._programs[rows])
        probabilities = self._programs[rows](variables, batch)
        return np.asarray(probabilities)[: sample.size]


@dataclass(frozen=True)
class Predictor:
    """A trained network: scans in, class probabilities of their points out.

    Attributes:
      inference: how it is run.
      variables: parameters and running statistics.
      step: of the checkpoint.
    """

    inference: SceneInference
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
        """Probabilities of the classes for every point; see `SceneInference.predict`."""
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
    record = Record.read(workdir)
    params = read_segmentation_params(run_config.read_config(workdir))
    step = find_step(workdir, best_metric=BEST_METRIC if which == "best" else "")
    here = replace(params, implementation="auto")
    variables = jax.device_put(load_variables(workdir / FOLDER / str(step)))
    return Predictor(SceneInference(here, record, max_rows, rotations), variables, step)


def run_network(
    make_model: Callable[[Rows], Segmenter],
    variables: Variables,
    batch: SceneBatch,
    rows: Rows,
) -> Float32[Array, "v classes"]:
    """Class probabilities of the voxels of one scene, its padding included."""
    return jax.nn.softmax(make_model(rows).apply(variables, batch, train=False).logits, axis=1)


def turn(scan: Scan, angle: float) -> Scan:
    """The scan turned about z, in radians, around the middle of its box."""
    return replace(scan, points=turn_points(scan.points, angle), boxes=None)
