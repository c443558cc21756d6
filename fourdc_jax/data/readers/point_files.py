"""Single-file scans: .ply, .npz, .npy, .pcd, .txt and .xyz.

- .ply: vertices of a mesh or points, ascii or binary, with the property names of `COLUMNS`.
- .npz: arrays named as in `COLUMNS`; only the points are required.
- .npy, .txt, .xyz: rows of x y z, of x y z r g b, or of x y z r g b label.
- .pcd: see pcd.py.
"""

import re
import zipfile
from collections.abc import Set
from itertools import islice
from pathlib import Path

import numpy as np
import plyfile

from fourdc_jax.data.readers.pcd import check_pcd, read_pcd
from fourdc_jax.data.readers.raw_points import (
    RawPoints,
    ScanOptions,
    check_count,
    make_scan,
    reading,
)
from fourdc_jax.data.scan import Scan

SUFFIXES = (".ply", ".npz", ".npy", ".pcd", ".txt", ".xyz")

# The first name present is taken: Scan's own names, then those of common tools.
COLUMNS = {
    "points": ("points", "coord", "xyz", "pos"),
    "colors": ("colors", "color", "rgb"),
    "labels": (
        *("labels", "label", "semantic", "classification", "class", "segment"),
        *("scalar_Label", "scalar_Classification"),  # CloudCompare
    ),
    "instances": ("instances", "instance", "instance_id", "object_id", "scalar_Instance"),
    "boxes": ("boxes",),
}
PLY_COLORS = (
    ("red", "green", "blue"),
    ("r", "g", "b"),
    ("diffuse_red", "diffuse_green", "diffuse_blue"),
)
ROW_WIDTHS = (3, 6, 7)
# Control characters stand inside a few numbers of the original S3DIS files.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def read_point_file(path: Path, options: ScanOptions) -> Scan:
    """Read one scan from one file; the name is the file's stem."""
    return make_scan(path.stem, path, read_columns(path), options)


def read_columns(path: Path) -> RawPoints:
    """The columns of a point file, by its suffix."""
    readers = {".ply": read_ply, ".npz": _read_npz, ".npy": _read_npy, ".pcd": read_pcd}
    return readers.get(path.suffix.lower(), read_text)(path)


def check_point_file(path: Path, min_points: int) -> None:
    """Look at header and size only; a damaged body is found when it is read."""
    suffix = path.suffix.lower()
    with reading(path, f"{suffix} file"):
        if suffix == ".pcd":
            count = check_pcd(path)
        elif suffix == ".ply":
            with path.open("rb") as file:
                head = file.read(256)
            if head.startswith(b"ply") and b"format ascii" in head:
                return
            count = open_ply(path)["vertex"].count  # maps into memory: only the header is read
        elif suffix == ".npy":
            count = len(_split_rows(np.load(path, mmap_mode="r", allow_pickle=False)).points)
        elif suffix == ".npz":
            count = count_npz_points(path)
        else:
            if not is_point_text(path):
                raise ValueError("its first row is not x y z, x y z r g b or x y z r g b label")
            with path.open("rb") as file:
                count = sum(1 for _ in islice(file, min_points))
        check_count(path, count, min_points)


def count_npz_points(path: Path) -> int:
    """Rows of the points in an .npz file, by the header of their array alone."""
    with zipfile.ZipFile(path) as archive:
        members = {Path(name).stem: name for name in archive.namelist()}
        with archive.open(members[_first_of("points", members.keys())]) as file:
            first = np.lib.format.read_magic(file) == (1, 0)
            form = np.lib.format
            shape, *_ = (form.read_array_header_1_0 if first else form.read_array_header_2_0)(file)
    return shape[0] if shape else 0


def open_ply(path: Path) -> plyfile.PlyData:
    """Map a .ply file into memory, as fast as its header; mixed polygons have to be read."""
    with reading(path, "PLY file"):
        for corners in (3, 4, 0):
            polygons = {"face": {"vertex_indices": corners, "vertex_index": corners}}
            try:
                return plyfile.PlyData.read(str(path), mmap="r", known_list_len=polygons)
            except plyfile.PlyParseError as error:
                # Too short even for faces without corners: a wrong count is not worth its memory.
                if corners == 0 and "end-of-file" in str(error):
                    raise
        return plyfile.PlyData.read(str(path), mmap="r")


def read_ply(path: Path) -> RawPoints:
    """The vertices of a .ply file."""
    with reading(path, "PLY file"):
        vertex = open_ply(path)["vertex"].data
        names = set(vertex.dtype.names)
        if not {"x", "y", "z"} <= names:
            raise ValueError(f"its vertices have {sorted(names)}: x, y, z are needed")
        colors = next((triple for triple in PLY_COLORS if names.issuperset(triple)), None)
        columns = {
            column: np.array(vertex[name])
            for column in ("labels", "instances")
            for name in COLUMNS[column]
            if name in names and name == _first_of(column, names)
        }
        return RawPoints(
            points=np.stack([vertex[axis] for axis in "xyz"], axis=1),
            colors=None if colors is None else np.stack([vertex[name] for name in colors], axis=1),
            **columns,
        )


def _read_npz(path: Path) -> RawPoints:
    # Opened here: numpy leaks the file where it turns out not to be an archive.
    with (
        reading(path, "NPZ file"),
        path.open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        names = set(arrays.files)
        _first_of("points", names)  # required: the message lists what is there
        found = {
            column: _first_of(column, names)
            for column, known in COLUMNS.items()
            if names.intersection(known)
        }
        return RawPoints(**{column: arrays[name] for column, name in found.items()})


def _first_of(column: str, names: Set[str]) -> str:
    for name in COLUMNS[column]:
        if name in names:
            return name
    raise ValueError(f"it holds {sorted(names)}, but no {column} ({', '.join(COLUMNS[column])})")


def _read_npy(path: Path) -> RawPoints:
    with reading(path, "NPY file"):
        return _split_rows(np.load(path, allow_pickle=False))


def read_text(path: Path) -> RawPoints:
    """Rows of numbers separated by blanks or commas; lines from # or // on are comments."""
    with reading(path, "table of points"):
        text = path.read_text(encoding="utf-8", errors="replace").replace(",", " ")
        lines = [line for line in text.splitlines() if not line.lstrip().startswith(("#", "//"))]
        if not any(line.strip() for line in lines):
            raise ValueError("it holds no numbers")
        try:
            return _split_rows(np.loadtxt(lines, ndmin=2))
        except ValueError:
            return _split_rows(np.loadtxt(_repair(lines), ndmin=2))


def _repair(lines: list[str]) -> list[str]:
    """Take control characters out of lines, or put blanks for them where columns would merge."""
    width = len(CONTROL.sub("", lines[0]).split()) if lines else 0
    repaired = []
    for number, line in enumerate(lines, 1):
        fixed = next(
            (
                text
                for text in (CONTROL.sub("", line), CONTROL.sub(" ", line))
                if _is_row(text, width)
            ),
            None,
        )
        if fixed is None and line.strip():
            raise ValueError(f"row {number} is {line[:60]!r}, not {width} numbers")
        repaired.append(fixed or "")
    return repaired


def is_point_text(path: Path) -> bool:
    """Whether the first row of a text file could be a point: many .txt files are notes."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            line = line.strip().replace(",", " ")
            if line and not line.startswith(("#", "//")):
                return any(_is_row(line, width) for width in ROW_WIDTHS)
    return False


def _is_row(line: str, width: int) -> bool:
    words = line.split()
    if len(words) != width:
        return False
    try:
        [float(word) for word in words]
    except ValueError:
        return False
    return True


def _split_rows(rows: np.ndarray) -> RawPoints:
    """Columns x y z, then r g b, then a label."""
    if rows.ndim != 2 or rows.shape[1] not in ROW_WIDTHS:
        raise ValueError(f"rows must have 3, 6 or 7 columns, got an array {list(rows.shape)}")
    if not np.issubdtype(rows.dtype, np.number):
        raise ValueError(f"its type is {rows.dtype}, not a number")
    return RawPoints(
        points=rows[:, :3],
        colors=rows[:, 3:6] if rows.shape[1] >= 6 else None,
        labels=rows[:, 6] if rows.shape[1] == 7 else None,
    )
