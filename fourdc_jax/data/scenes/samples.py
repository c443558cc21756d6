"""From a labelled scene to its voxels, augmented for training."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int, Int32

from fourdc_jax.data.grids.capacity import Rows
from fourdc_jax.data.grids.grid import Grid, make_grid
from fourdc_jax.data.grids.voxelization import LevelStrides, count_rows, find_voxels, quantize
from fourdc_jax.data.scan import Scan, check_points
from fourdc_jax.data.scenes.augmentation import (
    AugmentationParams,
    augment,
    draw_kept,
    draw_voxel_offset,
)
from fourdc_jax.data.scenes.targets import voxel_labels

NO_OFFSET = np.zeros(3, np.int32)


@dataclass(frozen=True)
class VoxelParams:
    """The grid, and what a voxel says.

    voxel: side in metres.
    features: "constant", one channel of ones: only geometry is seen; or "color", three channels,
      the mean colour of the voxel's points as colour / 255 - 0.5.
    """

    voxel: float
    features: Literal["constant", "color"]

    @property
    def in_channels(self) -> int:
        """Channels of the features."""
        return {"constant": 1, "color": 3}[self.features]


@dataclass(frozen=True)
class Sample:
    """The voxels of one scene.

    Attributes:
      name: of the scene.
      grid: the voxels (0, x, y, z), sorted.
      labels: of the voxels, see `voxel_labels`.
      center: the voxel, as x and y, around which rows are kept if the scene has to be cropped.
      num_voxels: rows before cropping.
    """

    name: str
    grid: Grid
    labels: Int32[np.ndarray, "v"]
    center: tuple[int, int]
    num_voxels: int

    @property
    def size(self) -> int:
        """Voxels, which is what cropping takes from."""
        return len(self.grid.coords)

    @property
    def needed(self) -> Rows:
        """Rows at the levels of the network."""
        return tuple(self.grid.needed.tolist())


def check_scan(scan: Scan, features: str) -> None:
    """Raises ValueError where a scan has no points, coordinates that are no numbers, no colours."""
    check_points(scan)
    if features == "color" and scan.colors is None:
        raise ValueError(f"scan {scan.name!r} has no colours: set features to 'constant'")


def voxelize(
    scan: Scan,
    params: VoxelParams,
    strides: LevelStrides = (),
    offset: Int32[np.ndarray, "3"] = NO_OFFSET,
) -> tuple[Sample, Int32[np.ndarray, "n"]]:
    """Voxels of a scene, its classes as labels (none: `IGNORE_LABEL`), and the row of each point.

    A point lies in the voxel whose centre is nearest to it, so that what is predicted for the
    rows, indexed by the rows of the points, is the nearest voxel's prediction.

    Args:
      strides: of the levels whose rows are counted.
      offset: added to the coordinates, in voxels.

    Raises:
      ValueError: as `check_scan`.
    """
    check_scan(scan, params.features)
    voxels = find_voxels(quantize(scan.points, params.voxel) + offset[:, None], strides)
    num_voxels = len(voxels.coords)
    coords = np.zeros((num_voxels, 4), np.int32)
    coords[:, 1:] = voxels.coords
    features = voxel_features(scan, voxels.rows, num_voxels, params)
    labels = voxel_labels(scan.labels, voxels.rows, num_voxels)
    _, x, y, _ = coords[num_voxels // 2].tolist()
    grid = make_grid(coords, features, voxels.needed)
    return Sample(scan.name, grid, labels, (x, y), num_voxels), voxels.rows


def voxel_features(
    scan: Scan, rows: Int32[np.ndarray, "n"], num_voxels: int, params: VoxelParams
) -> Float32[np.ndarray, "v c"]:
    """Ones, or the mean colour of each voxel's points as colour / 255 - 0.5."""
    if params.features == "constant":
        return np.ones((num_voxels, 1), np.float32)
    count = np.bincount(rows, minlength=num_voxels)
    sums = [np.bincount(rows, channel, num_voxels) for channel in scan.colors.T]
    return (np.stack(sums, axis=1) / (255 * count[:, None]) - 0.5).astype(np.float32)


def crop(sample: Sample, num_rows: int, strides: LevelStrides) -> Sample:
    """Keeps the rows nearest, seen from above, to the sample's centre."""
    places = sample.grid.coords[:, 1:3].astype(np.int64)
    distance = np.square(places - sample.center).sum(axis=1)
    kept = np.sort(np.argsort(distance, kind="stable")[:num_rows])
    return select_rows(sample, kept, strides)


def select_rows(sample: Sample, kept: Int[np.ndarray, "r"], strides: LevelStrides) -> Sample:
    """The part of a sample with the given rows, in ascending order."""
    coords = sample.grid.coords[kept]
    needed = count_rows(coords[:, 1:], strides)
    grid = make_grid(coords, sample.grid.features[kept], needed)
    return replace(sample, grid=grid, labels=sample.labels[kept])


def make_sample(
    scan: Scan,
    voxels: VoxelParams,
    augmentation: AugmentationParams,
    strides: LevelStrides,
    rng: np.random.Generator,
) -> Sample:
    """One training sample of a scene: augmented, voxelised, and with a random centre."""
    check_scan(scan, voxels.features)
    if voxels.features == "constant":
        scan = replace(scan, colors=None)  # nobody sees them: not worth changing
    augmented = augment(scan, augmentation, rng)
    offset = draw_voxel_offset(augmentation.voxel_offset, rng)
    sample, _ = voxelize(augmented, voxels, strides, offset)
    if rng.random() < augmentation.dropout_probability:
        kept = draw_kept(sample.size, augmentation.dropout, rng)
        sample = replace(select_rows(sample, kept, strides), num_voxels=len(kept))
    _, x, y, _ = sample.grid.coords[rng.integers(sample.size)].tolist()
    return replace(sample, center=(x, y))
