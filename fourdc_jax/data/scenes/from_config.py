"""The labelled scenes that a configuration names: splits, samples and capacities."""

from dataclasses import dataclass
from typing import Literal

from fourdc_jax.data.grids.capacity import Rows, measure_rows
from fourdc_jax.data.grids.voxelization import LevelStrides
from fourdc_jax.data.label_sets import LabelSet
from fourdc_jax.data.scenes.augmentation import AugmentationParams
from fourdc_jax.data.scenes.batches import Maker
from fourdc_jax.data.scenes.capacity import CapacityParams
from fourdc_jax.data.scenes.samples import VoxelParams
from fourdc_jax.data.sources.labelled import ClassParams, LabelledScans, class_file, find_classes
from fourdc_jax.data.sources.source import Source, open_scans
from fourdc_jax.data.sources.splits import LimitedParams, check_disjoint, limit_scenes, select_areas


@dataclass(frozen=True)
class SplitParams:
    """The scenes of one split.

    scans: "procedural:N", a folder of scans, or a prepared cache, see `open_scans`.
    split_file: one scene name a line, as ScanNet's scannetv2_train.txt; "": all.
    areas: of S3DIS; empty: all, and scans that have none.
    seed: chooses procedural rooms; rooms of different seeds are different.
    """

    scans: str
    split_file: str
    areas: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class DataParams:
    """All of `config.data` of a task on labelled scenes.

    classes: what is learnt, see `ClassParams`.
    train, validation: the scenes of the two splits.
    limited: the part of the training scenes that is used.
    align_axes, scan_scale, min_scan_points: how files are read, see `open_scans`.
    label_tables: ScanNet's label tables; empty: looked for in and above the folder.
    cached: scans of each split that a process keeps in memory.
    augmentation: of training scenes.
    voxels: the grid and the features.
    capacity: rows of a micro-batch.
    overflow: what happens to scenes that together are larger than that.
    num_workers, prefetch: who makes the batches, see `LoaderParams`.
    """

    classes: ClassParams
    train: SplitParams
    validation: SplitParams
    limited: LimitedParams
    align_axes: bool
    scan_scale: float
    min_scan_points: int
    label_tables: tuple[str, ...]
    cached: int
    augmentation: AugmentationParams
    voxels: VoxelParams
    capacity: CapacityParams
    overflow: Literal["error", "crop"]
    num_workers: int
    prefetch: int


@dataclass(frozen=True)
class Data:
    """The opened splits: what makes training batches, the validation scenes, and the classes."""

    training: Maker
    validation: LabelledScans
    classes: LabelSet


def open_data(params: DataParams, strides: LevelStrides, seed: int) -> Data:
    """Opens both splits and checks that they are labelled as asked, and share no scene.

    Args:
      params: of the configuration.
      strides: of the network's levels after the first.
      seed: of everything random in the training samples.

    Raises:
      FileNotFoundError, ValueError: nothing usable where the configuration points to, scans without
        labels or with those of other classes, or a scene in both splits.
    """
    training = open_split(params, params.train)
    validation = open_split(params, params.validation)
    check_disjoint(training.locations, validation.locations)
    training = training.subset(limit_scenes(training.names, params.limited))
    classes = find_classes(params.classes, params.train.scans)
    check_same_classes(classes, params)
    labels = (params.classes.label_set, len(classes))
    maker = Maker(
        LabelledScans(training, *labels),
        params.voxels,
        params.augmentation,
        strides,
        seed,
        params.overflow,
    )
    return Data(maker, LabelledScans(validation, *labels), classes)


def check_same_classes(classes: LabelSet, params: DataParams) -> None:
    """Raises ValueError where the validation scenes' folder names other classes."""
    path = class_file(params.validation.scans)
    if params.classes.label_set == "file" and path.is_file():
        names = find_classes(params.classes, params.validation.scans).names
        if names != classes.names:
            raise ValueError(
                f"{path} names other classes than {class_file(params.train.scans)}: labels of the "
                "two splits must mean the same"
            )


def open_split(params: DataParams, split: SplitParams) -> Source:
    """The scans of one split, their labels as they were read."""
    source = open_scans(
        split.scans,
        seed=split.seed,
        split_file=split.split_file,
        align_axes=params.align_axes,
        scale=params.scan_scale,
        min_points=params.min_scan_points,
        label_tables=params.label_tables,
        keep=params.cached,
    )
    return source.subset(select_areas(source.names, split.areas)) if split.areas else source


def choose_capacity(params: CapacityParams, maker: Maker, batch: int) -> Rows:
    """Rows of a micro-batch of so many scenes: as the configuration gives them, else measured.

    Raises:
      ValueError: the rows given are not one for every level.
    """
    levels = 1 + len(maker.strides)
    if not params.rows:
        return measure_rows(maker, params, batch)
    if len(params.rows) != levels:
        raise ValueError(
            f"config.data.capacity.rows has {len(params.rows)} values; give {levels}, or none to "
            "have them measured"
        )
    return params.rows
