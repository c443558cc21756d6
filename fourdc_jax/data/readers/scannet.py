"""ScanNet scene folders, as downloaded: mesh, annotation, axis alignment.

A scene `<id>` is the mesh `<id>_vh_clean_2.ply`; labels and instances come from
`<id>.aggregation.json` and `<id>_vh_clean_2.*.segs.json` through the raw category, which is right
for the annotations of both ScanNet versions; `<id>.txt` holds the rotation to room axes.
Labels are NYU40 ids.
"""

import csv
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer

from fourdc_jax.data.readers.entry import Entry
from fourdc_jax.data.readers.point_files import check_point_file, open_ply, read_ply
from fourdc_jax.data.readers.raw_points import ScanOptions, make_scan, reading
from fourdc_jax.data.scan import Scan, instance_boxes

log = logging.getLogger(__name__)

MESH = "_vh_clean_2.ply"
SOURCE_FILES = (MESH, ".labels.ply", ".aggregation.json", ".segs.json", ".txt")
LARGEST_NYU40 = 40


class LabelTable(NamedTuple):
    """NYU40 ids by raw category, and by the id that version 1 wrote into `.labels.ply`."""

    by_category: dict[str, int]
    by_first_version_id: dict[int, int]


def find_scenes(
    folder: Path, files: Sequence[str], options: ScanOptions
) -> tuple[list[Entry], set[str]]:
    """The scenes in one folder, and every file name that belongs to one of them."""
    entries, claimed = [], set()
    for mesh in (file for file in files if file.endswith(MESH)):
        name = mesh.removesuffix(MESH)
        own = {file for file in files if file.startswith((f"{name}_", f"{name}."))}
        entries.append(
            Entry(
                name=name,
                kind="ScanNet scene",
                location=str(folder / mesh),
                read=partial(read_scene, folder / mesh, options),
                check=partial(check_point_file, folder / mesh, options.min_points),
                files=(
                    *(folder / file for file in sorted(own) if file.endswith(SOURCE_FILES)),
                    *options.label_tables,
                ),
            )
        )
        claimed |= own
    return entries, claimed


def read_scene(mesh: Path, options: ScanOptions) -> Scan:
    """Read the scene whose mesh is given; what is not annotated has label 0 and instance 0.

    Raises:
      ValueError: naming the file, for a damaged mesh or annotation, or annotations of another mesh.
    """
    name = mesh.name.removesuffix(MESH)
    raw = read_ply(mesh)
    meta = mesh.with_name(f"{name}.txt")
    if options.align_axes and meta.is_file():
        transform = read_axis_alignment(meta)
        raw = replace(raw, points=raw.points @ transform[:3, :3].T + transform[:3, 3])
    table = read_label_tables(options.label_tables)
    labels, instances = read_annotation(mesh, len(raw.points), table)
    scan = make_scan(
        name,
        mesh,
        replace(raw, labels=labels, instances=instances),
        options,
        label_set="nyu40",
    )
    if scan.labels is None or scan.instances is None:
        return scan
    return replace(scan, boxes=instance_boxes(scan.points, scan.labels, scan.instances))


def read_axis_alignment(meta: Path) -> Float[np.ndarray, "4 4"]:
    """The `axisAlignment` of a scene's .txt; the identity where it has none (test scenes)."""
    with reading(meta, "ScanNet scene description"):
        for line in meta.read_text().splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "axisAlignment":
                numbers = [float(word) for word in value.split()]
                if len(numbers) != 16 or not np.isfinite(numbers).all():
                    raise ValueError(f"axisAlignment must be 16 numbers, got {value.strip()!r}")
                return np.array(numbers).reshape(4, 4)
    return np.eye(4)


def read_annotation(
    mesh: Path, num_points: int, table: LabelTable | None
) -> tuple[Integer[np.ndarray, "n"] | None, Integer[np.ndarray, "n"] | None]:
    """Labels and instances of the mesh's vertices; None where the files or the table are missing.

    With segments and aggregation, instances are objectId + 1 and labels follow the raw category.
    Without a table, or without segments, the labels are those of `_vh_clean_2.labels.ply`.
    """
    name = mesh.name.removesuffix(MESH)
    aggregation = mesh.with_name(f"{name}.aggregation.json")
    segments = sorted(mesh.parent.glob(f"{name}_vh_clean_2.*.segs.json"))
    labels = instances = None
    if aggregation.is_file() and segments:
        labels, instances = _labels_of_objects(aggregation, segments[0], num_points, table)
    colored = mesh.with_name(f"{name}_vh_clean_2.labels.ply")
    if labels is None and colored.is_file():
        labels = read_label_mesh(colored, table)
    return labels, instances


def _labels_of_objects(
    aggregation: Path, segments: Path, num_points: int, table: LabelTable | None
) -> tuple[np.ndarray | None, np.ndarray]:
    with reading(segments, "ScanNet segmentation"):
        segment_of = np.array(json.loads(segments.read_text())["segIndices"], np.int64)  # [n]
        if len(segment_of) != num_points:
            raise ValueError(f"has {len(segment_of)} segment ids for a mesh of {num_points} points")
    with reading(aggregation, "ScanNet aggregation"):
        groups = json.loads(aggregation.read_text())["segGroups"]
        groups = [(int(g["objectId"]), str(g["label"]), g["segments"]) for g in groups]
    values, row = np.unique(segment_of, return_inverse=True)  # [s], [n]
    labels, instances = np.zeros(len(values), np.int32), np.zeros(len(values), np.int32)  # [s]
    seen, unknown, repeated = set(), set(), 0
    for object_id, category, members in groups:
        if frozenset(members) in seen:  # scene0217_00 lists every object twice
            repeated += 1
            continue
        seen.add(frozenset(members))
        inside = np.isin(values, members)  # [s]; of overlapping objects the last one stays
        instances[inside] = object_id + 1
        if table is not None:
            labels[inside] = table.by_category.get(category, 0)
            if category not in table.by_category:
                unknown.add(category)
    if repeated:
        report_defect(aggregation, f"lists {repeated} objects again, taken once")
    if unknown:
        log.info("%s: not in the label tables, left unannotated: %s", aggregation, sorted(unknown))
    return None if table is None else labels[row], instances[row]


def read_label_mesh(path: Path, table: LabelTable | None) -> Integer[np.ndarray, "n"] | None:
    """NYU40 ids from `.labels.ply`.

    Version 1 wrote the ids of its own table instead: files with more than one id above 40 are
    taken as such and translated, or give None without that table. A single id above 40 is a known
    defect of version 2 (scene0270_00, scene0270_02, scene0384_00) and becomes 0.
    """
    with reading(path, "PLY file with labels"):
        labels = np.array(open_ply(path)["vertex"]["label"], np.int64)  # [n]
    values, row = np.unique(labels, return_inverse=True)
    outside = values[values > LARGEST_NYU40]
    if len(outside) > 1:
        if table is None or not table.by_first_version_id:
            log.warning("%s has ids of ScanNet v1; without its label table: no labels", path)
            return None
        values = np.array([table.by_first_version_id.get(int(value), 0) for value in values])
    elif len(outside):
        report_defect(path, f"has the label {outside[0]}, no NYU40 id: left unannotated")
        values = np.where(values > LARGEST_NYU40, 0, values)
    return values[row].astype(np.int32)


@cache
def report_defect(path: Path, defect: str) -> None:
    """Warn of a known defect of the dataset: once, for training reads a scene many times."""
    log.warning("%s %s", path, defect)


def find_label_tables(root: Path) -> tuple[Path, ...]:
    """ScanNet's label tables in, beside or up to two folders above `root`, version 2 first."""
    folders = [root, *root.resolve().parents[:2]]
    found = {
        path.resolve()
        for folder in folders
        for pattern in ("scannet*labels.combined.tsv*", "meta/scannet*labels.combined.tsv*")
        for path in folder.glob(pattern)
    }
    return tuple(sorted(found, key=lambda path: ("v2" not in path.name, path)))


@lru_cache(maxsize=8)
def read_label_tables(paths: tuple[Path, ...]) -> LabelTable | None:
    """Merge label tables: a category has the id of the first table that knows it."""
    if not paths:
        return None
    by_category: dict[str, int] = {}
    by_id: dict[int, int] = {}
    for path in paths:
        with reading(path, "ScanNet label table"):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
            first_version = "raw_category" not in rows[0]
            for row in rows:
                nyu40 = int(row["nyu40id"] or 0)
                category = row["category" if first_version else "raw_category"]
                by_category.setdefault(category, nyu40)
                if first_version:
                    by_id[int(row["id"])] = nyu40
    return LabelTable(by_category, by_id)
