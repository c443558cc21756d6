"""Refuse early what would fail late: senseless numbers, an unwritable workdir, a full disk."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from ml_collections import ConfigDict

from fourdc_jax.train.checkpoints import FOLDER, has_checkpoint
from fourdc_jax.train.task import Task
from fourdc_jax.train.transfer import find_workdir


def check_values(config: ConfigDict, task: Task) -> None:
    """Raises ValueError for values of the run with which no training is possible."""
    at_least_one = {
        "total_steps": config.total_steps,
        "batch_size": config.batch_size,
        "accumulate": config.accumulate,
        "checkpoint.every": config.checkpoint.every,
        "checkpoint.keep_last": config.checkpoint.keep_last,
        "log.every": config.log.every,
    }
    for key, value in at_least_one.items():
        if value < 1:
            raise ValueError(f"config.{key} is {value}; it must be at least 1")
    for evaluation in task.evaluations:
        if evaluation.every < 1:
            raise ValueError(
                f"{task.name!r} measures {', '.join(evaluation.metrics)} every {evaluation.every} "
                "steps; it must be at least 1"
            )
    twice = {name for name in task.measured if task.measured.count(name) > 1}
    if twice:
        raise ValueError(f"task {task.name!r}: two evaluations measure {sorted(twice)}")
    known = ["", "total", *task.weights, *task.alarms, *task.measured]
    if config.checkpoint.best_metric not in known:
        raise ValueError(
            f"config.checkpoint.best_metric is {config.checkpoint.best_metric!r}; {task.name!r} "
            f"has {known}"
        )


def check_paths(config: ConfigDict, workdir: Path) -> None:
    """What can be told of a run's paths before its data are opened, which takes longer.

    Raises:
      PermissionError: nothing can be written in the workdir.
      FileNotFoundError: it holds no checkpoint yet, and where it is to start from is none either.
    """
    check_workdir(workdir)
    if config.init.source and not has_checkpoint(workdir):
        find_workdir(Path(config.init.source).expanduser())


def check_workdir(workdir: Path) -> None:
    """Creates the workdir and proves that files can be written in it.

    Raises:
      PermissionError: if not; says why and what to do.
    """
    try:
        Path(workdir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir) as probe:
            probe.write(b"\0" * 4096)
    except OSError as error:
        reason = error.strerror or str(error)
        raise PermissionError(
            f"cannot write to --workdir={workdir} ({reason}); choose a writable folder on a disk "
            "with room, or change this one's permissions"
        ) from error


def check_disk(workdir: Path, checkpoint_bytes: int, num_checkpoints: int) -> None:
    """Raises unless the disk can hold all checkpoints that the run will keep.

    Checkpoints that are there already count as room: they are among those kept, or make way.

    Args:
      workdir: an existing folder.
      checkpoint_bytes: of one checkpoint, uncompressed.
      num_checkpoints: on disk at worst, the one being written included.

    Raises:
      OSError: with both numbers and what to do.
    """
    needed = checkpoint_bytes * num_checkpoints
    there = count_bytes_below(Path(workdir) / FOLDER)
    free = shutil.disk_usage(workdir).free
    if needed > free + there:
        raise OSError(
            f"{workdir} has {gigabytes(free)} free, but {num_checkpoints} checkpoints of "
            f"{gigabytes(checkpoint_bytes)} need {gigabytes(needed)}; free some room, choose a "
            "--workdir on a larger disk, or lower config.checkpoint.keep_last (or raise "
            "keep_every)"
        )


def count_bytes_below(folder: Path) -> int:
    """Of all files in a folder; those that vanish while it looks count as nothing.

    What a killed run had not finished writing is cleared away in the background.
    """
    total = 0
    for parent, _, files in os.walk(folder):  # passes over folders that are gone
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total


def gigabytes(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e9:.3g} GB"
