"""Sources of scans and shapes: sequences of items, found at once and read when asked for."""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import SupportsIndex

import numpy as np

from fourdc_jax.data.procedural import rooms, shapes
from fourdc_jax.data.readers.entry import Entry
from fourdc_jax.data.readers.modelnet import canonical_category
from fourdc_jax.data.readers.raw_points import ScanOptions
from fourdc_jax.data.readers.scans import find_scans
from fourdc_jax.data.readers.shapes import ShapeOptions, find_shapes
from fourdc_jax.data.scan import Scan
from fourdc_jax.data.shape import Shape
from fourdc_jax.data.sources import cache

log = logging.getLogger(__name__)

NAMES_SHOWN = 10
# Distance between the first procedural item of one seed and of the next: more than anyone opens.
PROCEDURAL_SEEDS = 1_000_000


class Source:
    """Items that are read when asked for; picklable, so that worker processes can have a copy.

    `failures` says by name what was left out when the source was opened, because its file is empty,
    damaged or not what its name says. Opening looks at headers and sizes only; damage inside a file
    raises a ValueError with the file's name when the item is read. A prepared cache has read all.

    Args:
      entries: the items, in order.
      failures: name to reason of what was left out.
      keep: the number of items that are kept in memory, the most recently used; useful where
        reading is slow (procedural items, raw meshes). Kept arrays are read-only. Copies in other
        processes start empty.
    """

    def __init__(self, entries: Sequence[Entry], failures: dict[str, str], keep: int = 0):
        self.entries = tuple(entries)
        self.failures = dict(failures)
        self.keep = keep
        self._kept: OrderedDict[int, Scan | Shape] = OrderedDict()

    @property
    def names(self) -> list[str]:
        """The items' names, unique within the source."""
        return [entry.name for entry in self.entries]

    @property
    def categories(self) -> list[str]:
        """The items' categories; empty strings for scans."""
        return [entry.category for entry in self.entries]

    @property
    def locations(self) -> dict[str, str]:
        """Name of each item -> where it is."""
        return {entry.name: str(entry.location) for entry in self.entries}

    def subset(self, names: Sequence[str]) -> "Source":
        """The items of these names, in their order."""
        by_name = {entry.name: entry for entry in self.entries}
        return Source([by_name[name] for name in names], self.failures, self.keep)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: SupportsIndex) -> Scan | Shape:
        entry = self.entries[index]
        index = range(len(self))[index]  # -1 and len - 1 are one item
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        item = replace(entry.read(), name=entry.name)
        if self.keep:
            self._kept[index] = item
            for column in vars(item).values():
                if isinstance(column, np.ndarray):
                    column.flags.writeable = False  # every reader gets the same arrays
            if len(self._kept) > self.keep:
                self._kept.popitem(last=False)
        return item

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_kept": OrderedDict()}


def open_scans(
    spec: str,
    *,
    seed: int = 0,
    num_procedural: int = 100,
    split_file: str = "",
    align_axes: bool = True,
    scale: float = 1.0,
    min_points: int = 1000,
    label_tables: Sequence[str] = (),
    keep: int = 0,
) -> Source:
    """Open the scans that `spec` names.

    Args:
      spec: "procedural" or "procedural:N", a prepared cache, a folder that is searched for scans of
        every known kind (see readers/scans.py), or one file.
      seed: chooses the procedural rooms; different seeds share none.
      num_procedural: rooms where the spec has no number.
      split_file: a text file with one scan name a line; others are left out.
      align_axes: apply ScanNet's axisAlignment where the scene has one.
      scale: multiplies coordinates of files to give metres (0.001 for millimetres).
      min_points: a scan of fewer points is a failure.
      label_tables: ScanNet's label tables; empty: looked for in and above the folder.
      keep: scans kept in memory, see Source.

    Cached scans are as they were prepared: `align_axes`, `scale`, `min_points` and `label_tables`
    act when the cache is made.

    Raises:
      FileNotFoundError: the path, the split file or a label table does not exist.
      ValueError: no scan there, every scan damaged, or scans of the split file missing.
    """
    if spec.partition(":")[0] == "procedural":
        count = _procedural_count(spec, num_procedural)
        if split_file:
            raise ValueError("procedural rooms have no splits: use another seed, not a split file")
        entries = [_procedural_room(seed * PROCEDURAL_SEEDS + i) for i in range(count)]
        return Source(entries, {}, keep)
    root = Path(spec).expanduser()
    if cache.is_cache(root):
        entries = cache.find_entries(root, "scans")
    else:
        tables = tuple(Path(table).expanduser() for table in label_tables)
        for table in tables:
            if not table.is_file():
                raise FileNotFoundError(f"label table {table} does not exist")
        entries = find_scans(root, ScanOptions(align_axes, scale, min_points, tables))
    if split_file:
        entries = _select(entries, Path(split_file), root)
    return _checked(entries, f"scans in {root}", keep)


def open_shapes(
    spec: str,
    *,
    num_points: int,
    categories: Sequence[str] = (),
    seed: int = 0,
    num_procedural: int = 100,
    split: str = "",
    split_file: str = "",
    up: str = "auto",
    min_points: int = 500,
    keep: int = 0,
) -> Source:
    """Open the shapes that `spec` names.

    Args:
      spec: "procedural" or "procedural:N" (needs `categories`), a prepared cache, a folder whose
        subfolders are categories, with or without train and test folders, or one file.
      num_points: points sampled on every mesh; point sets give at most as many.
      categories: those to take; empty: all.
      seed: chooses the points drawn and the procedural shapes; different seeds share none.
      num_procedural: shapes where the spec has no number.
      split: "train", "val", "test" folders, or "" for all.
      split_file: a text file with one shape name a line; others are left out.
      up: the files' up axis, "z", "y" or "auto" (see readers/modelnet.py).
      min_points: a point set of fewer points is a failure.
      keep: shapes kept in memory, see Source.

    Cached shapes are as they were prepared, less points than were sampled where `num_points` asks
    for less.

    Raises:
      FileNotFoundError: the path or the split file does not exist.
      ValueError: no shape there, every shape damaged, shapes of the split file missing, or a cache
        with fewer points a shape than `num_points`.
    """
    if spec.partition(":")[0] == "procedural":
        if not categories:
            raise ValueError("procedural shapes need a list of categories")
        count = _procedural_count(spec, num_procedural)
        first = seed * PROCEDURAL_SEEDS
        entries = [
            _procedural_shape(categories[i % len(categories)], first + i, num_points)
            for i in range(count)
        ]
        return Source(entries, {}, keep)
    root = Path(spec).expanduser()
    options = ShapeOptions(num_points, min_points, tuple(categories), split, up, seed)
    if cache.is_cache(root):
        entries = cache.find_entries(root, "shapes", options)
    else:
        entries = find_shapes(root, options)
    if split_file:
        entries = _select(entries, Path(split_file), root)
    missing = {canonical_category(name) for name in categories} - {e.category for e in entries}
    if missing:
        log.warning("%s has no shapes of the categories %s", root, sorted(missing))
    return _checked(entries, f"shapes in {root}", keep)


def _procedural_count(spec: str, default: int) -> int:
    _, colon, number = spec.partition(":")
    if not colon:
        return default
    if not number.isdecimal() or not 0 < int(number) <= PROCEDURAL_SEEDS:
        raise ValueError(f"{spec!r}: write procedural:N with N from 1 to {PROCEDURAL_SEEDS}")
    return int(number)


def _procedural_room(seed: int) -> Entry:
    return Entry(
        name=f"room_{seed:06d}",
        kind="procedural room",
        location=f"procedural room {seed}",
        read=partial(rooms.make_room, seed),
        generator=rooms.VERSION,
    )


def _procedural_shape(category: str, seed: int, num_points: int) -> Entry:
    category = canonical_category(category)
    return Entry(
        name=f"{category}_{seed:06d}",
        kind="procedural shape",
        location=f"procedural {category} {seed}",
        read=partial(_make_shape, category, seed, num_points),
        category=category,
    )


def _make_shape(category: str, seed: int, num_points: int) -> Shape:
    shape = shapes.make_shape(category, seed)
    return replace(shape, points=shape.points[:num_points])


def read_names(split_file: Path) -> list[str]:
    """The names in a split file, one a line; what follows a # is a comment.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it lists nothing.
    """
    if not split_file.is_file():
        raise FileNotFoundError(f"split file {split_file} does not exist")
    lines = (line.partition("#")[0].strip() for line in split_file.read_text().splitlines())
    names = list(dict.fromkeys(line for line in lines if line))
    if not names:
        raise ValueError(f"split file {split_file} lists nothing: write one name a line")
    return names


def _select(entries: list[Entry], split_file: Path, root: Path) -> list[Entry]:
    """The entries that a split file lists, in its order."""
    names = read_names(split_file)
    by_name = {entry.name: entry for entry in entries}
    missing = [name for name in names if name not in by_name]
    if missing:
        raise ValueError(
            f"{len(missing)} of the {len(names)} names in {split_file} are not in {root}: "
            f"{', '.join(missing[:NAMES_SHOWN])}{', ...' * (len(missing) > NAMES_SHOWN)}"
        )
    return [by_name[name] for name in names]


def _checked(entries: list[Entry], what: str, keep: int) -> Source:
    """A source of the entries whose headers are right; the others are its failures."""
    good, failures = [], {}
    for entry in entries:
        try:
            if entry.check is not None:
                entry.check()
        except (ValueError, OSError) as error:
            failures[entry.name] = str(error)
        else:
            good.append(entry)
    shown = "; ".join(list(failures.values())[:NAMES_SHOWN])
    if not good:
        raise ValueError(f"none of the {len(failures)} {what} can be read: {shown}")
    if failures:
        log.warning("%d of %d %s left out: %s", len(failures), len(entries), what, shown)
    return Source(good, failures, keep)
