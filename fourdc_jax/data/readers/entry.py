"""One scan or shape that was found but not read yet."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fourdc_jax.data.scan import Scan
from fourdc_jax.data.shape import Shape


@dataclass(frozen=True)
class Entry:
    """Where an item lies and how to read it.

    `read` and `check` are partials of module-level functions, so an entry travels to worker
    processes. `check` looks at headers and sizes only (about a millisecond) and raises like `read`.
    `files` are all files the item is made from, `location` is what a message names. `generator` is
    the version of what makes an item that has no files.
    """

    name: str
    kind: str
    location: str
    read: Callable[[], Scan | Shape]
    check: Callable[[], None] | None = None
    files: tuple[Path, ...] = ()
    category: str = ""
    split: str = ""
    generator: str = ""


def with_unique_names(root: Path, entries: list[Entry]) -> list[Entry]:
    """Name entries apart: where names repeat, they become paths below `root`, then with suffix."""
    for rename in (_path_without_suffix, _path_below):
        count = Counter(entry.name for entry in entries)
        entries = [
            replace(entry, name=rename(root, entry)) if count[entry.name] > 1 else entry
            for entry in entries
        ]
    return entries


def _path_below(root: Path, entry: Entry) -> str:
    return Path(entry.location).relative_to(root).as_posix()


def _path_without_suffix(root: Path, entry: Entry) -> str:
    return Path(_path_below(root, entry)).with_suffix("").as_posix()
