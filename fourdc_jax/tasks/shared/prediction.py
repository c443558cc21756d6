"""Scans to be predicted: opened from what a user names, and where each one's result goes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from fourdc_jax.data.scan import Scan
from fourdc_jax.data.sources.source import Source, open_scans

LEAST_POINTS = 4  # of a scan that has a picture

WritePrediction = Callable[[Scan, Path], str]  # predicts, writes; what was found, in words


class Input(NamedTuple):
    """A scan that is read when it is predicted."""

    name: str
    source: Source
    index: int

    def read(self) -> Scan:
        """The scan; raises ValueError or OSError where it cannot be read."""
        return self.source[self.index]


def open_inputs(specs: Sequence[str], scale: float) -> tuple[list[Input], list[str]]:
    """Every scan of files and folders, and what is wrong with those that have none.

    Axes are not aligned: the points stay where the file has them.

    Args:
      specs: as `open_scans` takes them.
      scale: unit of the files in metres.
    """
    scans, failures = [], []
    for spec in specs:
        try:
            source = open_scans(spec, scale=scale, min_points=LEAST_POINTS, align_axes=False)
        except (ValueError, OSError) as error:
            failures.append(str(error))
            continue
        scans += [Input(name, source, index) for index, name in enumerate(source.names)]
        failures += source.failures.values()
    return scans, failures


def choose_paths(names: Sequence[str], out: Path) -> list[Path]:
    """Where each scan's .ply goes: `out` itself for a single scan, else files in that folder.

    Raises:
      ValueError: a file for several scans, or two scans of one name.
    """
    if out.suffix.lower() == ".ply":
        if len(names) > 1:
            raise ValueError(f"--out {out} is one file for {len(names)} scans: name a folder")
        return [out]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"several inputs have a scan {twice[0]!r}: predict them in turns")
    return [out / f"{name}.ply" for name in names]
