"""What a file says about points, and the checks that turn it into a Scan."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Num, UInt8

from fourdc_jax.data.scan import Scan

log = logging.getLogger(__name__)

# Extents (metres) no indoor scan has: the file is in another unit, or is not a scan.
SMALLEST_SCAN, LARGEST_SCAN = 0.2, 1000.0
# Beyond this distance from the origin float32 steps exceed 0.06 mm: georeferenced scans are moved.
FARTHEST_ORIGIN = 1000.0


@dataclass(frozen=True)
class ScanOptions:
    """How scan files are read.

    `scale` multiplies the file's coordinates to give metres; `align_axes` applies ScanNet's
    axisAlignment; scans of fewer than `min_points` points are refused; `label_tables` are ScanNet's
    tables of raw categories (empty: looked for beside the scans).
    """

    align_axes: bool
    scale: float
    min_points: int
    label_tables: tuple[Path, ...] = ()


@dataclass(frozen=True)
class RawPoints:
    """Columns of a file in the file's own types, unchecked."""

    points: Num[np.ndarray, "..."]
    colors: Num[np.ndarray, "..."] | None = None
    labels: Num[np.ndarray, "..."] | None = None
    instances: Num[np.ndarray, "..."] | None = None
    boxes: Num[np.ndarray, "..."] | None = None


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a parser raises on a bad file into a ValueError that names the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist or is not a file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    try:
        yield
    except Exception as error:  # parsers of half a dozen formats: each has its own exceptions
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} is not a readable {what}: {reason}") from error


def make_scan(
    name: str, path: Path, raw: RawPoints, options: ScanOptions, *, label_set: str = "file"
) -> Scan:
    """Check the columns of `path` and give them the types of a Scan.

    Raises:
      ValueError: naming the file, for coordinates that are not finite, fewer than
        `options.min_points` points, columns of different lengths, or an extent outside 0.2 m to
        1000 m (usually a scan in millimetres: give `scale`).
    """
    points = check_points(path, raw.points, options.min_points) * options.scale
    check_extent(path, points)
    boxes = None if raw.boxes is None else np.asarray(raw.boxes, np.float64).reshape(-1, 7)
    if boxes is not None:
        boxes = np.concatenate([boxes[:, :6] * options.scale, boxes[:, 6:]], axis=1)
    if np.abs(points).max() > FARTHEST_ORIGIN:
        origin = np.floor(points.min(axis=0))
        log.warning("%s lies far from its origin: moved by %s m", path, (-origin).tolist())
        points = points - origin
        if boxes is not None:
            boxes[:, :3] -= origin
    return Scan(
        name=name,
        points=points.astype(np.float32),
        colors=None if raw.colors is None else byte_colors(path, raw.colors, len(points)),
        labels=integer_column(path, "labels", raw.labels, len(points)),
        instances=integer_column(path, "instances", raw.instances, len(points)),
        boxes=None if boxes is None else boxes.astype(np.float32),
        label_set=label_set,
    )


def check_points(
    path: Path, points: Num[np.ndarray, "..."], min_points: int
) -> Num[np.ndarray, "n 3"]:
    """The points as float64 `[n, 3]`, or a ValueError that says what is wrong with them."""
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"{path}: points must be [n, 3], got {list(points.shape)}")
    check_count(path, len(points), min_points)
    with np.errstate(invalid="ignore"):  # a signalling NaN warns when it is cast
        points = points.astype(np.float64)
    bad = ~finite_rows(points)  # [n]
    if bad.any():
        raise ValueError(
            f"{path}: {bad.sum()} of {len(points)} points have coordinates that are not finite, "
            f"the first is point {bad.argmax()}"
        )
    return points


def check_count(path: Path, num_points: int, min_points: int) -> None:
    """Refuse what has too few points to be a scan or a shape."""
    if num_points < min_points:
        raise ValueError(f"{path} has {num_points} points, fewer than the minimum of {min_points}")


def finite_rows(points: Num[np.ndarray, "n 3"]) -> Bool[np.ndarray, "n"]:
    """Which points have coordinates that are numbers, and still are as float32."""
    return (np.abs(points) <= np.finfo(np.float32).max).all(axis=1)


def check_extent(path: Path, points: Num[np.ndarray, "n 3"]) -> None:
    """Refuse an extent that no scan in metres has."""
    extent = float(np.ptp(points, axis=0).max())
    if extent > LARGEST_SCAN or extent < SMALLEST_SCAN:
        raise ValueError(
            f"{path} is {extent:.4g} m long: scans must be in metres; if the file is in another "
            "unit, set scale (0.001 for millimetres, 0.01 for centimetres)"
        )


def byte_colors(
    path: Path, colors: Num[np.ndarray, "..."], num_points: int
) -> UInt8[np.ndarray, "n 3"]:
    """Colours as 0..255, from bytes, from 16-bit integers or from floats in 0..1 or 0..255."""
    if colors.shape != (num_points, 3):
        raise ValueError(
            f"{path}: colours must be [{num_points}, 3] like the points, got {list(colors.shape)}"
        )
    if colors.dtype == np.uint8:
        return np.ascontiguousarray(colors)
    if colors.dtype == np.uint16:
        return (colors >> 8).astype(np.uint8)
    with np.errstate(invalid="ignore", over="ignore"):
        values = np.nan_to_num(colors.astype(np.float32))
    if np.issubdtype(colors.dtype, np.floating) and values.max(initial=0) <= 1:
        values = values * 255
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def integer_column(
    path: Path, column: str, values: Num[np.ndarray, "..."] | None, num_points: int
) -> np.ndarray | None:
    """An int32 column as long as the points; floats are accepted where they are whole numbers."""
    if values is None:
        return None
    values = values.reshape(-1)
    if len(values) != num_points:
        raise ValueError(f"{path}: {len(values)} {column} for {num_points} points")
    with np.errstate(invalid="ignore"):  # NaN and what is too large differ from their casts
        whole = values.astype(np.int32)
    if not np.array_equal(whole, values):
        raise ValueError(f"{path}: {column} must be whole numbers that fit in 32 bits")
    return whole
