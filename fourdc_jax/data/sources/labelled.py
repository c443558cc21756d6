"""Scans whose labels are the classes that a network learns: 0 .. C-1, and 255 elsewhere.

The classes are ScanNet's 20 ("scannet20": ScanNet scenes and procedural rooms), S3DIS' 13
("s3dis"), or a user's own ("file"). Those are a folder of `.npz` files, one a scene, with

    points     [n, 3] float, metres, z up
    labels     [n] integers 0 .. C-1; 255 or a negative number where a point has none
    colors     [n, 3] uint8, optional
    instances  [n] integers from 1, 0 for none, optional

and beside them `classes.txt`: the names of classes 0, 1, ..., one a line (optional where the number
of classes is given). Every other format of `open_scans` that holds labels will do as well; so does
a prepared cache, with `classes.txt` in its folder.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, SupportsIndex

import numpy as np
from jaxtyping import Int32

from fourdc_jax.data.label_sets import IGNORE_LABEL, LABEL_SETS, LabelSet, from_nyu40
from fourdc_jax.data.scan import Scan
from fourdc_jax.data.sources.source import Source

Classes = Literal["scannet20", "s3dis", "file"]

CLASS_FILE = "classes.txt"
# How the labels of every kind of scan become those of the classes.
CONVERSIONS = {
    ("nyu40", "scannet20"): from_nyu40,
    ("scannet20", "scannet20"): None,
    ("s3dis", "s3dis"): None,
    ("file", "file"): None,
}


@dataclass(frozen=True)
class ClassParams:
    """The classes that a network learns.

    label_set: which they are.
    num_classes: of the user's own classes where there is no `classes.txt`; else 0.
    """

    label_set: Classes
    num_classes: int


class LabelledScans:
    """A source of scans whose labels are classes; what has none has `IGNORE_LABEL`."""

    def __init__(self, scans: Source, label_set: Classes, num_classes: int) -> None:
        """Reads the first scan, so that wrong labels are told at once.

        Raises:
          ValueError: as `class_labels`, for the first scan.
        """
        self.scans, self.label_set, self.num_classes = scans, label_set, num_classes
        class_labels(scans[0], label_set, num_classes)

    @property
    def names(self) -> list[str]:
        """The scans' names, unique within the source."""
        return self.scans.names

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, index: SupportsIndex) -> Scan:
        scan = self.scans[index]
        labels = class_labels(scan, self.label_set, self.num_classes)
        return replace(scan, labels=labels, label_set=self.label_set)


def class_labels(scan: Scan, label_set: str, num_classes: int) -> Int32[np.ndarray, "n"]:
    """The classes of a scan's points.

    Raises:
      ValueError: the scan has no labels, labels of other classes, or a label that is no class.
    """
    if scan.labels is None:
        raise ValueError(
            f"scan {scan.name!r} has no labels: a ScanNet scene needs its .aggregation.json and "
            ".segs.json, with scannetv2-labels.combined.tsv in or above the folder; a point file "
            "needs a column of labels"
        )
    if (scan.label_set, label_set) not in CONVERSIONS:
        raise ValueError(
            f"scan {scan.name!r} has labels of {scan.label_set!r}, which are not the classes of "
            f"{label_set!r}: set --config.data.classes.label_set to what the scans hold"
        )
    convert = CONVERSIONS[scan.label_set, label_set]
    if convert is not None:
        return convert(scan.labels)
    labels = np.where(scan.labels < 0, np.int32(IGNORE_LABEL), scan.labels)
    wrong = (labels >= num_classes) & (labels != IGNORE_LABEL)
    if wrong.any():
        raise ValueError(
            f"scan {scan.name!r} has the label {labels[wrong.argmax()]}: there are {num_classes} "
            f"classes, 0 to {num_classes - 1}, and {IGNORE_LABEL} for points without one"
        )
    return labels


def find_classes(params: ClassParams, spec: str) -> LabelSet:
    """Names and colours of the classes; a user's own from the folder of the scans that `spec` is.

    Raises:
      ValueError: it is not known how many classes there are, or it is said twice.
    """
    if params.label_set in LABEL_SETS:
        known = LABEL_SETS[params.label_set]
        if params.num_classes not in (0, len(known)):
            raise ValueError(f"{params.label_set} has {len(known)} classes: set num_classes to 0")
        return known
    path = class_file(spec)
    if path.is_file():
        names = [line.strip() for line in path.read_text().splitlines() if line.strip()]
        if params.num_classes not in (0, len(names)):
            raise ValueError(
                f"{path} names {len(names)} classes and num_classes is {params.num_classes}: set "
                "num_classes to 0"
            )
    else:
        names = [f"class {index}" for index in range(params.num_classes)]
    if not 1 < len(names) <= IGNORE_LABEL:
        raise ValueError(
            f"{len(names)} classes: write their names into {path}, one a line, or set num_classes; "
            f"from 2 to {IGNORE_LABEL}"
        )
    return LabelSet(tuple(names), spread_colors(names))


def class_file(spec: str) -> Path:
    """Where the names of a user's own classes are, beside the scans that `spec` is."""
    scans = Path(spec).expanduser()
    return (scans.parent if scans.is_file() else scans) / CLASS_FILE


def spread_colors(names: Sequence[str]) -> tuple[tuple[int, int, int], ...]:
    """One colour a name: hues around the circle, every other one darker."""
    colors = []
    for index in range(len(names)):
        color = colorsys.hsv_to_rgb(index / len(names), 0.65, (0.95, 0.7)[index % 2])
        colors.append(tuple(round(255 * channel) for channel in color))
    return tuple(colors)
