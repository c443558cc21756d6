"""What prediction must know of a run on labelled scenes besides its config."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fourdc_jax.data.grids.capacity import Rows
from fourdc_jax.data.label_sets import LabelSet
from fourdc_jax.params import read_params
from fourdc_jax.train.records import find_record, read_record

# What may change when a run resumes: rows of a micro-batch depend on the number of devices.
FREE = ("rows", "classes.colors")


@dataclass(frozen=True)
class SceneRecord:
    """What `Task.record` says, for tasks on labelled scenes.

    Attributes:
      label_set: "scannet20", "s3dis" or "file".
      classes: names and colours.
      rows: capacity of a training micro-batch.
    """

    label_set: str
    classes: LabelSet
    rows: Rows

    def as_values(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def read_scene_record(workdir: Path, task_name: str) -> SceneRecord:
    """The record that a run has left.

    Raises:
      FileNotFoundError: the workdir is not that of a run of this task.
      ValueError: the record is damaged.
    """
    where = str(find_record(workdir, task_name))
    return read_params(SceneRecord, read_record(workdir, task_name), where)
