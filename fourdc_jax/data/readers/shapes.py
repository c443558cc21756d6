"""Find and read every shape below a folder: meshes and point sets, by category."""

import logging
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from fourdc_jax.data.readers import meshes, modelnet, point_files
from fourdc_jax.data.readers.entry import Entry, with_unique_names
from fourdc_jax.data.readers.raw_points import check_points, reading
from fourdc_jax.data.readers.scans import walk
from fourdc_jax.data.shape import Shape

log = logging.getLogger(__name__)

POINT_SUFFIXES = (".json", ".txt", ".npy", ".npz", ".pcd", ".xyz")
LOOKED_FOR = f"meshes ({', '.join(meshes.SUFFIXES)}) and point sets ({', '.join(POINT_SUFFIXES)})"


@dataclass(frozen=True)
class ShapeOptions:
    """How shape files are read.

    Meshes are sampled at `num_points`; point sets give a random choice of as many, or all they
    have, but at least `min_points`. `up` is the files' up axis, see modelnet.orientation.
    `categories` (empty: all) and `split` ("train", "val", "test"; empty: all) choose files by
    their folders.
    """

    num_points: int
    min_points: int
    categories: tuple[str, ...]
    split: str
    up: str
    seed: int


def find_shapes(root: Path, options: ShapeOptions) -> list[Entry]:
    """Every shape at or below `root`, a folder or a single file, sorted by category and name.

    The category is the nearest folder's name that is not a split (`chair/train/x.off`,
    `chair/x.off`); for files directly in `root` it is the one in the file's name, if any.

    Raises:
      FileNotFoundError: `root` does not exist.
      ValueError: there is no shape, or none of the categories or the split, with what there is.
    """
    if not root.exists():
        raise FileNotFoundError(f"shapes: {root} does not exist")
    if options.split not in ("", *modelnet.SPLITS):
        raise ValueError(f"split must be '' or one of {modelnet.SPLITS}, got {options.split!r}")
    wanted = {modelnet.canonical_category(name) for name in options.categories}
    found = list(_shape_files(root, wanted))
    if not found:
        raise ValueError(f"no shape in {root}: looked for {LOOKED_FOR}")
    entries = [
        _entry(path, category, split, options)
        for path, category, split in found
        if (not wanted or category in wanted) and options.split in ("", split)
    ]
    there = Counter((category, split) for _, category, split in found)
    if not entries:
        raise ValueError(
            f"no shape in {root} of split {options.split or 'any'!r} and categories "
            f"{sorted(wanted) or 'any'}; there are (category, split): {sorted(there)}"
        )
    if any(entry.location.endswith(".json") for entry in entries):
        log.warning("%s: .json point sets are turned at random, z is not up in them", root)
    entries = with_unique_names(root if root.is_dir() else root.parent, entries)
    return sorted(entries, key=lambda entry: (entry.category, entry.name))


def _shape_files(root: Path, wanted: set[str]) -> Iterator[tuple[Path, str, str]]:
    """Path, category and split of every file that could be a shape."""
    walked = [(root.parent, [], [root.name])] if root.is_file() else walk(root)
    top = root.parent if root.is_file() else root
    for folder, _, files in walked:
        below = [modelnet.canonical_category(part) for part in folder.relative_to(top).parts]
        split = folder.name if folder.name in modelnet.SPLITS else ""
        owner = folder.parent if split else folder
        nearest = modelnet.canonical_category(owner.name)
        # Some collections nest further (chair/<id>/models/x.obj): a wanted name decides.
        category = next((part for part in reversed(below) if part in wanted), nearest)
        for file in files:
            path = folder / file
            if not _could_be_shape(path):
                continue
            in_name = modelnet.category_in_name(path.stem) if owner in (top, top.parent) else None
            yield path, in_name or category, split


def _could_be_shape(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix == ".json":
        return modelnet.is_point_json(path)
    if suffix == ".txt":
        return point_files.is_point_text(path)
    return suffix in meshes.SUFFIXES + POINT_SUFFIXES


def _entry(path: Path, category: str, split: str, options: ShapeOptions) -> Entry:
    is_mesh = path.suffix.lower() in meshes.SUFFIXES
    return Entry(
        name=path.stem,
        kind="mesh" if is_mesh else "point set",
        location=str(path),
        read=partial(read_shape, path, category, options),
        check=partial(check_shape, path, options.min_points),
        files=(path,),
        category=category,
        split=split,
    )


def check_shape(path: Path, min_points: int) -> None:
    """Look at header and size only."""
    suffix = path.suffix.lower()
    if suffix in meshes.SUFFIXES:
        meshes.check_mesh(path)
    elif suffix == ".json":
        with reading(path, "JSON point set"):
            with path.open("rb") as file:
                file.seek(-min(64, path.stat().st_size), 2)
                tail = file.read().rstrip()
            if not tail.endswith(b"}"):
                raise ValueError("it does not end with }: it is cut off")
    else:
        point_files.check_point_file(path, min_points)


def read_shape(path: Path, category: str, options: ShapeOptions) -> Shape:
    """Read one shape, sampled, z up and, where the dataset's front is known, facing +x.

    The draw depends on the seed, the category and the file's name only.

    Raises:
      ValueError: naming the file, for what is damaged or has too few points.
    """
    key = zlib.crc32(f"{category}/{path.stem}".encode())
    generator = np.random.default_rng([options.seed, key])
    raw = _point_set(path)
    if raw is None:
        mesh = meshes.load_mesh(path)
        points = meshes.sample_surface(mesh, options.num_points, generator)
    else:
        points = check_points(path, raw, options.min_points)
        points = points[generator.permutation(len(points))[: options.num_points]]
        if not np.ptp(points, axis=0).max() > 0:
            raise ValueError(f"{path}: all its points are the same")
    rotation = modelnet.orientation(path, category, options.up)
    return Shape(path.stem, category, (points @ rotation.T).astype(np.float32))


def _point_set(path: Path) -> np.ndarray | None:
    """The points of a point set; None for a mesh. A .ply is either."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        return modelnet.read_json_points(path).points
    if suffix == ".ply":
        elements = point_files.open_ply(path)
        if "face" in elements and elements["face"].count:
            return None
    elif suffix in meshes.SUFFIXES:
        return None
    return point_files.read_columns(path).points
