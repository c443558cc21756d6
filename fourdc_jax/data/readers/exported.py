"""Scans that other projects exported from ScanNet: VoteNet's arrays and Pointcept's folders.

- VoteNet: `<id>_vert.npy` (x y z r g b) with `_sem_label`, `_ins_label` and `_bbox`, all NYU40,
  axis-aligned; with the suffix `_all` where the vertices are not subsampled.
- Pointcept: a folder of `coord.npy`, `color.npy`, `segment20.npy`, `instance.npy`.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from fourdc_jax.data.label_sets import NYU40_OF_SCANNET20
from fourdc_jax.data.readers.entry import Entry
from fourdc_jax.data.readers.point_files import check_point_file
from fourdc_jax.data.readers.raw_points import RawPoints, ScanOptions, make_scan, reading
from fourdc_jax.data.scan import Scan

VERTICES = ("_vert_all.npy", "_vert.npy")  # in order of preference


def find_exports(
    folder: Path, files: Sequence[str], options: ScanOptions
) -> tuple[list[Entry], set[str]]:
    """The exported scans in one folder, and every file name that belongs to one of them."""
    entries: dict[str, Entry] = {}
    claimed: set[str] = set()
    for suffix in VERTICES:
        for file in (file for file in files if file.endswith(suffix)):
            name = file.removesuffix(suffix)
            own = {other for other in files if other.startswith(f"{name}_")}
            claimed |= own
            if name not in entries:
                read = partial(read_votenet_export, folder / file, options)
                entries[name] = _entry(name, folder / file, own, read, options.min_points)
    if "coord.npy" in files:
        own = {file for file in files if file.endswith(".npy")} - claimed
        claimed |= own
        read = partial(read_pointcept_folder, folder, options)
        coord = folder / "coord.npy"
        entries[folder.name] = _entry(folder.name, coord, own, read, options.min_points)
    return list(entries.values()), claimed


def _entry(name: str, path: Path, own: set[str], read: partial, min_points: int) -> Entry:
    return Entry(
        name=name,
        kind="exported scan",
        location=str(path),
        read=read,
        check=partial(check_point_file, path, min_points),
        files=tuple(path.with_name(file) for file in sorted(own)),
    )


def read_votenet_export(vertices: Path, options: ScanOptions) -> Scan:
    """Read `<id>_vert.npy` or `<id>_vert_all.npy` with labels, instances and boxes beside it."""
    variant = "_all" if vertices.name.endswith("_all.npy") else ""
    name = vertices.name.removesuffix(f"_vert{variant}.npy")
    rows = _load(vertices)
    if rows is None or rows.ndim != 2 or rows.shape[1] < 3:
        raise ValueError(f"{vertices}: rows must be x y z or x y z r g b")
    raw = RawPoints(
        points=rows[:, :3],
        colors=rows[:, 3:6] if rows.shape[1] >= 6 else None,
        labels=_load(vertices.with_name(f"{name}_sem_label{variant}.npy")),
        instances=_load(vertices.with_name(f"{name}_ins_label{variant}.npy")),
        boxes=_load(vertices.with_name(f"{name}_bbox.npy")),
    )
    return make_scan(name, vertices, raw, options, label_set="nyu40")


def read_pointcept_folder(folder: Path, options: ScanOptions) -> Scan:
    """Read a folder of arrays; labels 0..19 become NYU40 ids and -1 becomes 0."""
    coord = folder / "coord.npy"
    points = _load(coord)
    labels, instances = _load(folder / "segment20.npy"), _load(folder / "instance.npy")
    if labels is not None:
        if labels.min(initial=0) < -1 or labels.max(initial=0) > 19:
            raise ValueError(f"{folder / 'segment20.npy'}: labels must be -1..19")
        labels = np.array((*NYU40_OF_SCANNET20, 0), np.int32)[labels]
    raw = RawPoints(
        points=points,
        colors=_load(folder / "color.npy"),
        labels=labels,
        instances=None if instances is None else np.maximum(instances + 1, 0),
    )
    return make_scan(folder.name, coord, raw, options, label_set="nyu40")


def _load(path: Path) -> np.ndarray | None:
    if not path.is_file():
        return None
    with reading(path, "NPY file"):
        return np.load(path, allow_pickle=False)
