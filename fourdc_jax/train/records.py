"""`<workdir>/<task>.json`: what prediction must know of a run besides config and weights."""

import json
from pathlib import Path
from typing import Any

from fourdc_jax.files import read_json, write_atomically
from fourdc_jax.train.run_config import flatten
from fourdc_jax.train.task import Task


def find_record(workdir: Path, task_name: str) -> Path:
    """Where a task's record is."""
    return Path(workdir) / f"{task_name}.json"


def write_record(workdir: Path, task: Task) -> None:
    """Writes the task's record, if it has one."""
    if task.record is not None:
        text = json.dumps(task.record, indent=2) + "\n"
        write_atomically(find_record(workdir, task.name), text)


def read_record(workdir: Path, task_name: str) -> dict[str, Any]:
    """The record that a run of a task has left; lists for tuples.

    Raises:
      FileNotFoundError: the workdir is not that of such a run.
      ValueError: the file is damaged.
    """
    path = find_record(workdir, task_name)
    if not path.is_file():
        raise FileNotFoundError(
            f"{workdir} has no {path.name}: name the workdir of a run of the task {task_name!r}"
        )
    return read_json(path)


def check_record(workdir: Path, task: Task) -> None:
    """Raises ValueError where the task's record does not continue that of the run in `workdir`.

    What `task.record_free` names may differ; a run from before there were records has none.
    """
    path = find_record(workdir, task.name)
    if task.record is None or not path.is_file():
        return
    before, now = flatten(read_json(path)), flatten(json.loads(json.dumps(task.record)))
    changed = [
        f"{key} (was {before.get(key, 'absent')!r}, is {now.get(key, 'absent')!r})"
        for key in sorted(before.keys() | now.keys())
        if before.get(key, "absent") != now.get(key, "absent") and key not in task.record_free
    ]
    if changed:
        raise ValueError(
            f"{workdir} holds a {task.name} run whose {path.name} differs: {', '.join(changed)}. "
            "Give it the data that it had, or choose a new --workdir"
        )
