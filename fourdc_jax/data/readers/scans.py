"""Find every scan below a folder, once, whatever its format."""

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from fourdc_jax.data.readers import exported, point_files, s3dis, scannet
from fourdc_jax.data.readers.entry import Entry, with_unique_names
from fourdc_jax.data.readers.raw_points import ScanOptions

LOOKED_FOR = (
    "ScanNet scenes (<id>_vh_clean_2.ply), S3DIS rooms (Annotations/*.txt), VoteNet exports "
    "(<id>_vert.npy), Pointcept folders (coord.npy), or point files "
    f"({', '.join(point_files.SUFFIXES)})"
)
# Parts of other scans when they lie alone: never a scan of their own.
AUXILIARY = (".labels.ply", "_sem_label.npy", "_ins_label.npy", "_bbox.npy", "_sem_label_all.npy")
AUXILIARY += ("_ins_label_all.npy", "_axis_align_matrix.npy")


def find_scans(root: Path, options: ScanOptions) -> list[Entry]:
    """Every scan at or below `root`, a folder or a single file, sorted by name.

    Within a folder a whole dataset's layout is looked for first; what belongs to it is not looked
    at again, so a scene with its meshes, labels and notes is one scan.

    Raises:
      FileNotFoundError: `root` does not exist.
      ValueError: there is no scan, with the list of what is looked for.
    """
    if not root.exists():
        raise FileNotFoundError(f"scans: {root} does not exist")
    if not options.label_tables:
        options = replace(options, label_tables=scannet.find_label_tables(root))
    if root.is_file():
        entries = [
            entry
            for entry in _scans_of_folder(root.parent, [], [root.name], options)
            if Path(entry.location) == root
        ]
        entries = entries or [_point_file(root, options)]
    else:
        entries = [
            entry
            for folder, subfolders, files in walk(root)
            for entry in _scans_of_folder(folder, subfolders, files, options)
        ]
        entries = with_unique_names(root, entries)
    if not entries:
        raise ValueError(f"no scan in {root}: looked for {LOOKED_FOR}")
    return sorted(entries, key=lambda entry: entry.name)


def _scans_of_folder(
    folder: Path, subfolders: list[str], files: list[str], options: ScanOptions
) -> Iterator[Entry]:
    room, claimed = s3dis.find_room(folder, subfolders, files, options)
    yield from room
    for find in (scannet.find_scenes, exported.find_exports):
        files = [file for file in files if file not in claimed]
        found, claimed = find(folder, files, options)
        yield from found
    for file in files:
        path = folder / file
        if file in claimed or path.suffix.lower() not in point_files.SUFFIXES:
            continue
        is_note = path.suffix.lower() == ".txt" and not point_files.is_point_text(path)
        if not is_note and not file.endswith(AUXILIARY):
            yield _point_file(path, options)


def _point_file(path: Path, options: ScanOptions) -> Entry:
    return Entry(
        name=path.stem,
        kind="point file",
        location=str(path),
        read=partial(point_files.read_point_file, path, options),
        check=partial(point_files.check_point_file, path, options.min_points),
        files=(path,),
    )


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Folders below `root` with their subfolders and files, sorted, links followed once.

    Hidden names and the resource forks of zip files are left out. Removing a subfolder from the
    yielded list keeps the walk out of it.
    """
    seen: set[str] = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(s for s in subfolders if not s.startswith((".", "__MACOSX")))
        yield Path(folder), subfolders, sorted(f for f in files if not f.startswith("."))
