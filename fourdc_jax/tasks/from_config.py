"""Which task a config or a run is of: the only file that knows all of them."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from ml_collections import ConfigDict

from fourdc_jax.results.runs import Evaluated, Run
from fourdc_jax.tasks.pretrain import task as pretrain
from fourdc_jax.tasks.segmentation import inference as segmentation_inference
from fourdc_jax.tasks.segmentation import report as segmentation_report
from fourdc_jax.tasks.segmentation import task as segmentation
from fourdc_jax.tasks.shared.comparison import Comparison, Progress
from fourdc_jax.tasks.shared.prediction import WritePrediction
from fourdc_jax.train.task import Task

TASKS = ("pretrain", "segmentation")


def create_task(config: ConfigDict) -> Task:
    """What `config.task` names, ready for the training loop.

    Raises:
      FileNotFoundError, ValueError: there is no such task, or as its `create_task`.
    """
    match config.get("task"):
        case "pretrain":
            return pretrain.create_task(config)
        case "segmentation":
            return segmentation.create_task(config)
        case task:
            raise ValueError(f"config.task is {task!r}; there are {', '.join(TASKS)}")


def compare_runs(
    runs: Sequence[Run],
    out: Path,
    how: Evaluated,
    *,
    num_drawn: int,
    again: bool,
    progress: Progress,
) -> Comparison:
    """Runs of one task side by side, see its `compare_runs`.

    Raises:
      FileNotFoundError, ValueError: runs of a task without scores, or that do not compare.
    """
    match runs[0].task:
        case "segmentation":
            compare = segmentation_report.compare_runs
        case task:
            raise ValueError(f"{runs[0].workdir} is a run of {task!r}, a task without scores")
    return compare(runs, out, how, num_drawn=num_drawn, again=again, progress=progress)


def load_writer(run: Run, how: Evaluated) -> WritePrediction:
    """The network of a run, as a function that predicts a scan and writes what it found.

    Raises:
      FileNotFoundError, ValueError: it predicts nothing, or has no such checkpoint.
    """
    match run.task:
        case "segmentation":
            predictor = segmentation_inference.load_predictor(run.workdir, **asdict(how))
            write = segmentation_report.predict_and_write
            return partial(write, predictor.predict, predictor.classes)
        case task:
            raise ValueError(f"{run.workdir} is a run of {task!r}, a task that predicts nothing")
