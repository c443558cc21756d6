"""From a labelled scene to its voxels, augmented for training; the (epoch, index)-th sample."""

from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int, Int32

from fourdc_jax.data.grids.voxelization import (
    choose_packing,
    count_coarse_rows,
    quantize,
    unique_keys,
)
from fourdc_jax.data.label_sets import IGNORE_LABEL
from fourdc_jax.data.scan import Scan
from fourdc_jax.data.scenes.augmentation import (
    SceneAugmentationParams,
    augment_scene,
    draw_kept,
    draw_voxel_offset,
)

NO_OFFSET = np.zeros(3, np.int32)


@runtime_checkable
class Source(Protocol):
    """Labelled scans by index, read when asked for, picklable for worker processes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Scan: ...


@dataclass(frozen=True)
class SceneVoxelParams:
    """The grid, and what a voxel says.

    voxel: side in metres.
    strides: of the network's levels after the first, as in (2, 4, 8, 16).
    features: "constant", one channel of ones: only geometry is seen; or "color", three channels,
      the mean colour of the voxel's points as colour / 255 - 0.5.
    """

    voxel: float
    strides: tuple[int, ...]
    features: Literal["constant", "color"]

    @property
    def in_channels(self) -> int:
        """Channels of the features."""
        return {"constant": 1, "color": 3}[self.features]


@dataclass(frozen=True)
class SceneSample:
    """The voxels of one scene; `coords` are unique and sorted.

    Attributes:
      name: of the scene.
      coords: x, y, z in voxels.
      features: see `SceneVoxelParams.features`.
      labels: the label that all points of a voxel share, `IGNORE_LABEL` where they disagree, as
        MinkowskiEngine has it.
      needed: rows that the network's levels have for it, the finest first.
      center: the voxel, as x and y, around which rows are kept if the scene has to be cropped.
      num_voxels: rows before cropping.
    """

    name: str
    coords: Int32[np.ndarray, "v 3"]
    features: Float32[np.ndarray, "v c"]
    labels: Int32[np.ndarray, "v"]
    needed: tuple[int, ...]
    center: tuple[int, int]
    num_voxels: int


def check_scene(scan: Scan, features: str) -> None:
    """Raises ValueError where a scan has no points, coordinates that are no numbers, no colours."""
    if len(scan.points) == 0:
        raise ValueError(f"scan {scan.name!r} has no points")
    if not np.isfinite(scan.points).all():
        count = np.count_nonzero(~np.isfinite(scan.points).all(axis=1))
        raise ValueError(
            f"scan {scan.name!r}: {count} of {len(scan.points)} points have coordinates that are "
            "not finite: remove them"
        )
    if features == "color" and scan.colors is None:
        raise ValueError(f"scan {scan.name!r} has no colours: set features to 'constant'")


def voxelize_scene(
    scan: Scan, params: SceneVoxelParams, offset: Int32[np.ndarray, "3"] = NO_OFFSET
) -> tuple[SceneSample, Int32[np.ndarray, "n"]]:
    """Voxels of a scene, its classes as labels (none: `IGNORE_LABEL`), and the row of each point.

    A point lies in the voxel whose centre is nearest to it, so that what is predicted for the
    rows, indexed by the rows of the points, is the nearest voxel's prediction.

    Args:
      offset: added to the coordinates, in voxels.

    Raises:
      ValueError: as `check_scene`.
    """
    check_scene(scan, params.features)
    columns = quantize(scan.points, params.voxel) + offset[:, None]
    strides = tuple((s, s, s) for s in params.strides)
    packing = choose_packing(columns, strides[-1])
    keys, rows = unique_keys(packing.pack(columns), sum(packing.bits))
    coords = packing.unpack(keys)
    middle = len(coords) // 2
    sample = SceneSample(
        name=scan.name,
        coords=coords,
        features=voxel_features(scan, rows, len(keys), params),
        labels=voxel_labels(scan.labels, rows, len(keys)),
        needed=(len(keys), *count_coarse_rows(keys, packing, strides)),
        center=(int(coords[middle, 0]), int(coords[middle, 1])),
        num_voxels=len(keys),
    )
    return sample, rows


def voxel_labels(
    labels: Int32[np.ndarray, "n"] | None, rows: Int32[np.ndarray, "n"], num_voxels: int
) -> Int32[np.ndarray, "v"]:
    """The label that all points of a voxel share, `IGNORE_LABEL` where they disagree."""
    shared = np.full(num_voxels, IGNORE_LABEL, np.int32)
    if labels is None:
        return shared
    shared[rows] = labels  # one point of each voxel speaks for it ...
    shared[rows[labels != shared[rows]]] = IGNORE_LABEL  # ... unless another one disagrees
    return shared


def voxel_features(
    scan: Scan, rows: Int32[np.ndarray, "n"], num_voxels: int, params: SceneVoxelParams
) -> Float32[np.ndarray, "v c"]:
    """Ones, or the mean colour of each voxel's points as colour / 255 - 0.5."""
    if params.features == "constant":
        return np.ones((num_voxels, 1), np.float32)
    count = np.bincount(rows, minlength=num_voxels)
    sums = [np.bincount(rows, channel, num_voxels) for channel in scan.colors.T]
    return (np.stack(sums, axis=1) / (255 * count[:, None]) - 0.5).astype(np.float32)


def crop_scene(sample: SceneSample, num_rows: int, strides: tuple[int, ...]) -> SceneSample:
    """Keeps the rows nearest, seen from above, to the sample's centre."""
    distance = np.square(sample.coords[:, :2].astype(np.int64) - sample.center).sum(axis=1)
    kept = np.sort(np.argsort(distance, kind="stable")[:num_rows])
    return select_rows(sample, kept, strides)


def select_rows(
    sample: SceneSample, kept: Int[np.ndarray, "r"], strides: tuple[int, ...]
) -> SceneSample:
    """The part of a sample with the given rows, in ascending order."""
    coords = sample.coords[kept]
    columns = np.ascontiguousarray(coords.T)
    steps = tuple((s, s, s) for s in strides)
    packing = choose_packing(columns, steps[-1])
    return replace(
        sample,
        coords=coords,
        features=sample.features[kept],
        labels=sample.labels[kept],
        needed=(len(kept), *count_coarse_rows(packing.pack(columns), packing, steps)),
    )


def make_scene_sample(
    scan: Scan,
    voxels: SceneVoxelParams,
    augmentation: SceneAugmentationParams,
    rng: np.random.Generator,
) -> SceneSample:
    """One training sample of a scene: augmented, voxelised, and with a random centre."""
    check_scene(scan, voxels.features)
    if voxels.features == "constant":
        scan = replace(scan, colors=None)  # nobody sees them: not worth changing
    augmented = augment_scene(scan, augmentation, rng)
    offset = draw_voxel_offset(augmentation.voxel_offset, rng)
    sample, _ = voxelize_scene(augmented, voxels, offset)
    if rng.random() < augmentation.dropout_probability:
        kept = draw_kept(len(sample.coords), augmentation.dropout, rng)
        sample = replace(select_rows(sample, kept, voxels.strides), num_voxels=len(kept))
    x, y, _ = sample.coords[rng.integers(len(sample.coords))]
    return replace(sample, center=(int(x), int(y)))
