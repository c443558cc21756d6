"""Finished runs of semantic segmentation: what their config says, and their stored results."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer

from fourdc_jax.data.scan import Scan
from fourdc_jax.data.scenes.from_config import SceneDataParams, open_split
from fourdc_jax.data.sources.labelled import LabelledScans
from fourdc_jax.evaluation.segmentation import scores
from fourdc_jax.files import write_atomically
from fourdc_jax.params import read_params
from fourdc_jax.tasks.segmentation.inference import BEST_METRIC, Predictor, Record
from fourdc_jax.tasks.segmentation.scores import evaluate_scenes
from fourdc_jax.train.checkpoints import FOLDER, find_step
from fourdc_jax.train.run_config import read_config

RESULTS = "results.json"  # inside a workdir


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
      name: of its method; runs of one name differ in their seeds.
      workdir: its folder.
      config: plain values that it was started with.
      record: its classes.
    """

    name: str
    workdir: Path
    config: Mapping[str, Any]
    record: Record

    @property
    def percent(self) -> float:
        """Share of the training scenes whose labels it saw."""
        return float(self.config["data"]["limited"]["percent"])

    @property
    def labels(self) -> str:
        """That share in words: of a seeded subset, or of a list such as the benchmark's."""
        if self.percent == 100:
            return "100%"
        chosen = "list" if self.config["data"]["limited"]["list_file"] else "seeded"
        return f"{self.percent:g}% ({chosen})"

    @property
    def data(self) -> SceneDataParams:
        """Its `config.data`."""
        return read_params(SceneDataParams, self.config["data"], f"{self.workdir}: config.data")


def read_run(workdir: Path, name: str = "") -> Run:
    """The run in a folder, named `name`, else by what it started from.

    Raises:
      FileNotFoundError: it is no run, or one of another task.
    """
    record = Record.read(workdir)
    config = read_config(workdir)
    return Run(name or ("pre-trained" if config["init"] else "scratch"), workdir, config, record)


def open_validation(run: Run) -> LabelledScans:
    """The run's validation scenes, labelled with its classes.

    Raises:
      FileNotFoundError, ValueError: they are not where the config says, or not as it says.
    """
    scans = open_split(run.data, run.data.validation)
    return LabelledScans(scans, run.record.label_set, len(run.record.classes))


def evaluate(
    run: Run,
    scenes: LabelledScans,
    load: Callable[[], Predictor],
    *,
    options: Mapping[str, Any],
    again: bool = False,
    progress: Callable[[LabelledScans], Iterable[Scan]] = iter,
) -> dict[str, Any]:
    """Scores over all scenes: those in the workdir if they are of this checkpoint, else new ones.

    Args:
      run: where results are stored.
      scenes: to evaluate.
      load: called only where predictions are needed.
      options: of the predictor: "which" checkpoint, and others as JSON values.
      again: do not read what is stored.
      progress: shows how far it is while the scenes go through it.

    Returns:
      What results.json holds: "of" (checkpoint, options and scenes), "classes", and for "voxels",
      as the papers count, and "points" each the "confusion" and its scores, see `summarize`.

    Raises:
      FileNotFoundError, ValueError: there is no such checkpoint.
    """
    step = find_step(run.workdir, BEST_METRIC if options["which"] == "best" else "")
    written = (run.workdir / FOLDER / str(step)).stat().st_mtime_ns
    of = {"step": step, "written": written, **options, "scenes": scenes.names}
    path = run.workdir / RESULTS
    if not again and path.is_file():
        stored = json.loads(path.read_text())
        if stored.get("of") == of:
            return stored
    classes = run.record.classes
    found = evaluate_scenes(load().predict, progress(scenes), run.data.voxels, len(classes))
    results = {"of": of, "classes": list(classes.names)}
    results |= {level: summarize(matrix) for level, matrix in found._asdict().items()}
    write_atomically(path, json.dumps(results, indent=1) + "\n")
    return results


def summarize(matrix: Integer[np.ndarray, "c c"]) -> dict[str, Any]:
    """A confusion matrix and its scores as JSON values; null for a score that does not exist."""
    found = {key: np.asarray(value) for key, value in scores(matrix).items()}
    values = {key: np.where(np.isnan(v), None, v).tolist() for key, v in found.items()}
    return {**values, "confusion": matrix.tolist()}
