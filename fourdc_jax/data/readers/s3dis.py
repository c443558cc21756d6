"""S3DIS rooms: a folder with one text file an instance, `Annotations/<class>_<number>.txt`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from fourdc_jax.data.label_sets import S3DIS
from fourdc_jax.data.readers.entry import Entry
from fourdc_jax.data.readers.point_files import is_point_text, read_text
from fourdc_jax.data.readers.raw_points import RawPoints, ScanOptions, make_scan, reading
from fourdc_jax.data.scan import Scan


def find_room(
    folder: Path, subfolders: list[str], files: Sequence[str], options: ScanOptions
) -> tuple[list[Entry], set[str]]:
    """The room that a folder is, if it is one; then all its files and its `Annotations` are taken.

    `subfolders` is changed in place, as os.walk wants it, so that `Annotations` is not entered.
    """
    if "Annotations" not in subfolders:
        return [], set()
    instances = sorted((folder / "Annotations").glob("*.txt"))
    if not instances:
        return [], set()
    subfolders.remove("Annotations")
    in_area = folder.parent.name.startswith("Area_")
    name = f"{folder.parent.name}_{folder.name}" if in_area else folder.name
    entry = Entry(
        name=name,
        kind="S3DIS room",
        location=str(folder),
        read=partial(read_room, folder, name, options),
        check=partial(check_room, folder),
        files=tuple(instances),
    )
    return [entry], set(files)


def check_room(folder: Path) -> None:
    """Look at the size and the first row of every instance."""
    for path in sorted((folder / "Annotations").glob("*.txt")):
        with reading(path, "S3DIS instance"):
            if not is_point_text(path):
                raise ValueError("its first row is not x y z r g b")


def read_room(folder: Path, name: str, options: ScanOptions) -> Scan:
    """Read all instances of a room; a class outside the 13 is clutter, as in the benchmark.

    Raises:
      ValueError: naming the file, and the row where a row is damaged beyond the known control
        characters of the original files.
    """
    parts, labels = [], []
    for path in sorted((folder / "Annotations").glob("*.txt")):
        part = read_text(path)
        if part.colors is None:
            raise ValueError(f"{path}: rows must be x y z r g b")
        category = path.stem.rsplit("_", 1)[0]
        parts.append(part)
        labels.append(S3DIS.names.index(category if category in S3DIS.names else "clutter"))
    sizes = [len(part.points) for part in parts]
    raw = RawPoints(
        points=np.concatenate([part.points for part in parts]),
        colors=np.concatenate([part.colors for part in parts]),
        labels=np.repeat(np.array(labels, np.int32), sizes),
        instances=np.repeat(np.arange(1, len(parts) + 1, dtype=np.int32), sizes),
    )
    return make_scan(name, folder, raw, options, label_set="s3dis")
