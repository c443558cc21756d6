"""The prepared cache: one uncompressed .npz an item, and a manifest.

    <cache>/manifest.json            counts, hashes, failures; the mark of a cache
    <cache>/items/<name>.npz         float32 points, uint8 colours, labels in the smallest integer

A file is written under another name and renamed, so that it is whole or absent. Every file carries
its own record (the source's hash and the options it was read with), so that a preparation which was
killed continues where it stopped, manifest or not.
"""

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from fourdc_jax.data.readers.entry import Entry
from fourdc_jax.data.readers.modelnet import canonical_category
from fourdc_jax.data.readers.raw_points import reading
from fourdc_jax.data.readers.shapes import ShapeOptions
from fourdc_jax.data.scan import Scan
from fourdc_jax.data.shape import Shape
from fourdc_jax.files import write_atomically

FORMAT = "fourdc-jax cache 1"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Record:
    """What the manifest and the file itself say about one item.

    `generator` is the version of what made an item without source files; caches of earlier versions
    do not say it.
    """

    name: str
    kind: str
    category: str
    split: str
    num_points: int
    source: tuple[str, ...]
    source_bytes: int
    source_sha256: str
    options: str
    generator: str = ""


def item_path(root: Path, name: str) -> Path:
    """The file of an item; a name may have folders."""
    return root / "items" / f"{name}.npz"


def write_item(path: Path, item: Scan | Shape, record: Record) -> None:
    """Write one item in one step: the file is whole or absent."""
    if isinstance(item, Scan):
        labels = {"labels": item.labels, "instances": item.instances}
        arrays = {
            "points": item.points,
            "colors": item.colors,
            **{name: _smallest(values) for name, values in labels.items()},
            "boxes": item.boxes,
            "label_set": np.array(item.label_set),
        }
    else:
        arrays = {"points": item.points}
    buffer = io.BytesIO()
    arrays["record"] = np.array(json.dumps(asdict(record)))
    np.savez(buffer, **{name: array for name, array in arrays.items() if array is not None})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())


def _smallest(values: np.ndarray | None) -> np.ndarray | None:
    """The same integers in the narrowest type that holds them."""
    if values is None:
        return None
    kinds = (np.uint8, np.int16, np.int32)
    low, high = values.min(initial=0), values.max(initial=0)
    return values.astype(
        next(kind for kind in kinds if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    )


@contextmanager
def _open_arrays(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    # Opened here: numpy leaks the file where it turns out not to be an archive.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        yield arrays


def read_record(path: Path) -> Record:
    """The record in a cached file."""
    with reading(path, "cached item"), _open_arrays(path) as arrays:
        fields = json.loads(str(arrays["record"]))
        return Record(**{**fields, "source": tuple(fields["source"])})


def read_scan(path: Path) -> Scan:
    """Read one cached scan; a few milliseconds for 150,000 points."""
    with reading(path, "cached scan"), _open_arrays(path) as arrays:
        names = set(arrays.files)
        return Scan(
            name=path.stem,
            points=arrays["points"],
            colors=arrays["colors"] if "colors" in names else None,
            labels=arrays["labels"].astype(np.int32) if "labels" in names else None,
            instances=arrays["instances"].astype(np.int32) if "instances" in names else None,
            boxes=arrays["boxes"] if "boxes" in names else None,
            label_set=str(arrays["label_set"]),
        )


def read_shape(path: Path, category: str, num_points: int) -> Shape:
    """Read one cached shape: its first `num_points` points, which are as uniform as all."""
    with reading(path, "cached shape"), _open_arrays(path) as arrays:
        return Shape(path.stem, category, arrays["points"][:num_points])


def is_cache(root: Path) -> bool:
    """Whether a folder is a cache: it has a manifest of this format."""
    path = root / MANIFEST
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        return '"format": "fourdc-jax cache' in file.read(4096)


def read_manifest(root: Path) -> dict:
    """The manifest, or a ValueError where it is damaged or of another format."""
    path = root / MANIFEST
    with reading(path, "manifest"):
        manifest = json.loads(path.read_text())
        if manifest["format"] != FORMAT:
            raise ValueError(f"its format is {manifest['format']!r}, this version reads {FORMAT!r}")
        return manifest


def write_manifest(root: Path, manifest: dict) -> None:
    """Write the manifest in one step."""
    text = json.dumps({"format": FORMAT, **manifest}, indent=1)
    write_atomically(root / MANIFEST, text.encode())


def find_entries(root: Path, holds: str, shapes: ShapeOptions | None = None) -> list[Entry]:
    """The items of a cache as entries; of shapes those of the wanted categories and split.

    Raises:
      ValueError: the cache holds something else, is not finished, is damaged, has none of the
        wanted, or has fewer points a shape than asked for.
    """
    manifest = read_manifest(root)
    if manifest["holds"] != holds:
        raise ValueError(f"{root} is a cache of {manifest['holds']}, not of {holds}")
    if not manifest["complete"]:
        raise ValueError(f"the preparation of {root} is not finished: run prepare_data.py again")
    items = manifest["items"]
    if shapes is not None:
        items = _wanted_shapes(root, items, manifest, shapes)
    entries = []
    for item in items:
        path = item_path(root, item["name"])
        if shapes is None:
            read = partial(read_scan, path)
        else:
            read = partial(read_shape, path, item["category"], shapes.num_points)
        entries.append(
            Entry(
                name=item["name"],
                kind=item["kind"],
                location=str(path),
                read=read,
                check=partial(check_item, path, item["bytes"]),
                files=(path,),
                category=item["category"],
                split=item["split"],
            )
        )
    return entries


def _wanted_shapes(root: Path, items: list, manifest: dict, shapes: ShapeOptions) -> list:
    stored = manifest["options"].get("num_points", 0)
    if shapes.num_points > stored:
        raise ValueError(
            f"{root} holds {stored} points a shape, {shapes.num_points} are asked for: prepare it "
            f"with --num-points {shapes.num_points}"
        )
    wanted = {canonical_category(name) for name in shapes.categories}
    chosen = [
        item
        for item in items
        if (not wanted or item["category"] in wanted) and shapes.split in ("", item["split"])
    ]
    if not chosen:
        there = sorted({(item["category"], item["split"]) for item in items})
        raise ValueError(
            f"{root} has no shape of split {shapes.split or 'any'!r} and categories "
            f"{sorted(wanted) or 'any'}; there are (category, split): {there}"
        )
    return chosen


def check_item(path: Path, size: int) -> None:
    """Check that a cached file has the size the manifest says."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing from the cache: run prepare_data.py again")
    if path.stat().st_size != size:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, the manifest says {size}")


def hash_files(files: tuple[Path, ...]) -> tuple[int, str]:
    """Total size and SHA-256 of files, names included."""
    digest, size = hashlib.sha256(), 0
    for file in files:
        data = file.read_bytes()
        size += len(data)
        digest.update(f"{file.name} {len(data)}\n".encode())
        digest.update(data)
    return size, digest.hexdigest()
