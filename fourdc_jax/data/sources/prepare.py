"""Convert a source into a cache: in parallel, resumable, and going on past damaged files."""

import hashlib
import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from fourdc_jax.data.readers.entry import Entry
from fourdc_jax.data.sources import cache
from fourdc_jax.data.sources.cache import Record
from fourdc_jax.data.sources.source import Source
from fourdc_jax.files import write_atomically

BYTES_A_POINT = 12  # float32 x y z


def prepare(
    source: Source,
    root: Path,
    *,
    holds: str,
    options: dict,
    origin: dict,
    workers: int,
    progress: Callable[[Iterable[dict]], Iterable[dict]] = iter,
) -> dict:
    """Convert every item of `source` into the cache at `root` and return the manifest.

    Items whose source, generator and options are those of when they were converted are skipped. An
    item that cannot be read becomes a failure in the manifest; the rest goes on.

    Args:
      source: raw scans or shapes.
      root: the cache's folder, made if needed.
      holds: "scans" or "shapes".
      options: the plain values that decide how an item is read; other ones convert again.
      origin: where the source came from, for the manifest's reader.
      workers: processes; 0 converts in this one.
      progress: wraps the iterator of outcomes, for a progress bar.

    Raises:
      OSError: the folder cannot be written, or the disk is or gets full.
      ValueError: the folder is a cache of something else, or holds other files.
    """
    check_writable(root, holds, needed=_estimate_bytes(source, options))
    for leftover in (root / "items").rglob(".*.npz.*"):  # of a preparation that was killed
        leftover.unlink()
    text = json.dumps(options, sort_keys=True)
    manifest = {"holds": holds, "complete": False, "origin": origin, "options": options}
    cache.write_manifest(root, {**manifest, "items": [], "failures": []})
    convert = partial(convert_entry, root, text)
    outcomes = list(progress(_run(convert, source.entries, workers)))
    items = [outcome for outcome in outcomes if "error" not in outcome]
    failures = [{"name": name, "error": error} for name, error in source.failures.items()]
    failures += [outcome for outcome in outcomes if "error" in outcome]
    manifest |= {
        "complete": True,
        "num_items": len(items),
        "num_failures": len(failures),
        "num_points": sum(item["num_points"] for item in items),
        "bytes": sum(item["bytes"] for item in items),
        "failures": failures,
        "items": [_without(item, "options", "skipped") for item in items],
    }
    cache.write_manifest(root, manifest)
    return {**manifest, "num_skipped": sum(item["skipped"] for item in items)}


def convert_entry(root: Path, options: str, entry: Entry) -> dict:
    """Convert one entry, unless its file is there; returns the manifest's row, or the failure."""
    path = cache.item_path(root, entry.name)
    try:
        size, digest = cache.hash_files(entry.files)
        record = Record(
            name=entry.name,
            kind=entry.kind,
            category=entry.category,
            split=entry.split,
            num_points=0,
            source=tuple(file.name for file in entry.files) or (entry.location,),
            source_bytes=size,
            source_sha256=digest,
            options=options,
            generator=entry.generator,
        )
        finished = _finished(path, record)
        if finished is None:
            item = entry.read()
    except (ValueError, OSError) as error:
        return {"name": entry.name, "error": str(error)}
    if finished is None:
        record = replace(record, num_points=len(item.points))
        cache.write_item(path, item, record)  # an OSError here ends the preparation: the disk
    data = path.read_bytes()
    return {
        **asdict(finished or record),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "skipped": finished is not None,
    }


def check_writable(root: Path, holds: str, needed: int) -> None:
    """Fail before the work, not after: folder, kind of cache, write access and space."""
    if cache.is_cache(root):
        there = cache.read_manifest(root)["holds"]
        if there != holds:
            raise ValueError(f"{root} is a cache of {there}: choose another folder for {holds}")
    elif root.is_dir() and any(name != "items" for name in os.listdir(root)):
        raise ValueError(f"{root} holds other files: choose an empty or a new folder")
    try:
        root.mkdir(parents=True, exist_ok=True)
        write_atomically(root / ".probe", b"x")
        (root / ".probe").unlink()
    except OSError as error:
        raise OSError(f"the cache folder {root} cannot be written: {error}") from error
    free = shutil.disk_usage(root).free
    if free < needed:
        raise OSError(f"{root}: about {needed:,} bytes are needed, {free:,} are free")


def _estimate_bytes(source: Source, options: dict) -> int:
    """About what the cache takes: scans as much as their main file, shapes their points."""
    if "num_points" in options:
        return len(source) * options["num_points"] * BYTES_A_POINT
    mains = (Path(entry.location) for entry in source.entries)
    return sum(path.stat().st_size for path in mains if path.is_file())


def _finished(path: Path, record: Record) -> Record | None:
    """The record of the file that is there, if it was made from the same source the same way."""
    if not path.is_file():
        return None
    try:
        there = cache.read_record(path)
    except ValueError:
        return None
    return there if replace(there, num_points=0) == record else None


def _run(
    convert: Callable[[Entry], dict], entries: tuple[Entry, ...], workers: int
) -> Iterator[dict]:
    if workers == 0:
        yield from map(convert, entries)
        return
    # Spawned, not forked: the parent may run threads, and a fork copies their locks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_end_with_parent) as pool:
        try:
            yield from pool.map(convert, entries)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """Let this worker end when its parent is killed: by itself it would wait for work for ever."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _without(row: dict, *keys: str) -> dict:
    return {key: value for key, value in row.items() if key not in keys}
