"""A point cloud with its classes as a .ply that any viewer opens."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Integer, UInt8
from plyfile import PlyData, PlyElement

FIELDS = (
    *(("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")),
    *(("label", "u1"), ("confidence", "f4")),
)


def write_labelled_ply(
    path: str | Path,
    points: Float[np.ndarray, "n 3"],
    colors: UInt8[np.ndarray, "n 3"],
    labels: Integer[np.ndarray, "n"],
    confidence: Float[np.ndarray, "n"],
    names: Sequence[str] = (),
) -> Path:
    """Write x, y, z, red, green, blue, label and confidence a point, as binary .ply.

    Args:
      path: the .ply to write; its folder is made.
      points: metres.
      colors: of the points' classes.
      labels: 0 .. 255.
      confidence: 0 to 1.
      names: of the classes 0, 1, ...; each becomes a comment "class <label> <name>" in the header.

    Raises:
      ValueError: a label outside 0 .. 255.
    """
    if len(labels) and not 0 <= labels.min() <= labels.max() <= 255:
        raise ValueError(f"labels go from {labels.min()} to {labels.max()}: give 0 to 255")
    columns = [*points.T, *colors.T, labels, confidence]
    vertex = np.empty(len(points), list(FIELDS))
    for (name, _), values in zip(FIELDS, columns, strict=True):
        vertex[name] = values
    comments = [
        f"class {label} {name}".encode("ascii", "backslashreplace").decode()  # .ply takes no other
        for label, name in enumerate(names)
    ]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    PlyData([PlyElement.describe(vertex, "vertex")], comments=comments).write(str(path))
    return path
