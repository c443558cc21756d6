"""What a run leaves for machines to read: metrics.jsonl and TensorBoard events."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from fourdc_jax.files import write_atomically

FILE = "metrics.jsonl"


class MetricsFile:
    """metrics.jsonl: one JSON object a logged step, each step once, whatever was interrupted."""

    def __init__(self, workdir: Path, resumed_step: int):
        """Opens the file for appending.

        Args:
          workdir: an existing folder.
          resumed_step: lines after it are dropped, they are about to be written again.
        """
        self.path = Path(workdir) / FILE
        kept = [line for line in read_history(workdir) if line["step"] <= resumed_step]
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = self.path.open("a")

    def write(self, line: Mapping[str, Any]) -> None:
        """Appends one line; JSON knows no NaN, which becomes null."""
        self._file.write(json.dumps({k: null_if_nan(v) for k, v in line.items()}) + "\n")
        self._file.flush()  # survives a kill of this process

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def null_if_nan(value: Any) -> Any:
    """None for a float that JSON cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_history(workdir: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl as dicts; [] without the file.

    A last line that a killed process left incomplete is dropped.
    """
    path = Path(workdir) / FILE
    if not path.is_file():
        return []
    lines = path.read_text().split("\n")
    complete = lines[:-1]  # what follows the last newline is nothing, or torn
    return [json.loads(line) for line in complete]


class TensorBoard:
    """TensorBoard events below `<workdir>/tensorboard`."""

    def __init__(self, workdir: Path, resumed_step: int):
        """Opens a new event file; TensorBoard hides older events after `resumed_step`."""
        self._writer = SummaryWriter(
            str(Path(workdir) / "tensorboard"),
            purge_step=resumed_step + 1,
            filename_suffix=f".from_step_{resumed_step}",
        )

    def write(self, line: Mapping[str, Any]) -> None:
        """Writes every finite number of a metrics.jsonl line."""
        for name, value in line.items():
            if name != "step" and null_if_nan(value) is not None:
                self._writer.add_scalar(name, value, line["step"])

    def close(self) -> None:
        """Writes what is buffered."""
        self._writer.close()
