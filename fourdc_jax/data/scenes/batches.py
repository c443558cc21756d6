"""Several scenes in one batch of static shape, and the maker that the loader asks for them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32

from fourdc_jax.data.grids.capacity import Rows, SampleTooLarge, count_needed, fit_together
from fourdc_jax.data.grids.grid import Grid, join_grids, join_rows
from fourdc_jax.data.grids.voxelization import LevelStrides
from fourdc_jax.data.label_sets import IGNORE_LABEL
from fourdc_jax.data.report import Message
from fourdc_jax.data.scan import Scan
from fourdc_jax.data.scenes.augmentation import AugmentationParams
from fourdc_jax.data.scenes.samples import Sample, VoxelParams, crop, make_sample


@runtime_checkable
class Source(Protocol):
    """Labelled scans by index, read when asked for, picklable for worker processes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Scan: ...


class SceneBatch(NamedTuple):
    """Several scenes, each a batch item.

    Attributes:
      grid: the voxels (scene, x, y, z).
      labels: of the voxels; `IGNORE_LABEL` in padding.
    """

    grid: Grid
    labels: Int32[np.ndarray, "n"]


@dataclass(frozen=True)
class Report:
    """How a scene came into its batch; `kept` is the share of its voxels, 1 if not cropped."""

    scan: str
    kept: float

    @property
    def counts(self) -> Mapping[str, int]:
        """What is added up over a run."""
        return {"cropped": int(self.kept < 1)}

    @property
    def messages(self) -> tuple[Message, ...]:
        """A warning of every crop."""
        if self.kept == 1:
            return ()
        text = (
            f"scene {self.scan!r} does not fit into its micro-batch: cropped to {self.kept:.0%} "
            "of its voxels"
        )
        return (Message(text),)


@dataclass(frozen=True)
class Maker:
    """Makes training samples and batches from labelled scenes; each is once in an epoch.

    Everything random in a sample comes from (seed, epoch, index). Picklable.

    Attributes:
      scans: the labelled scenes.
      voxels: the grid and the features.
      augmentation: how scenes are changed.
      strides: of the network's levels after the first.
      seed: of everything random in the data.
      overflow: what happens to scenes that together are larger than the capacity.
      capacity: rows of a batch; None until they are known, see `with_capacity`.
    """

    scans: Source
    voxels: VoxelParams
    augmentation: AugmentationParams
    strides: LevelStrides
    seed: int
    overflow: Literal["error", "crop"]
    capacity: Rows | None = None

    def __post_init__(self) -> None:
        """Raises ValueError where there are no scenes."""
        if len(self.scans) == 0:
            raise ValueError("there are no scenes to train on")

    def __len__(self) -> int:
        """Samples in an epoch."""
        return len(self.scans)

    def with_capacity(self, capacity: Rows) -> "Maker":
        """The maker of batches of so many rows."""
        return replace(self, capacity=capacity)

    def make_sample(self, epoch: int, index: int) -> Sample:
        """The augmented scene of an index, of whatever size it is."""
        rng = np.random.default_rng([self.seed, epoch, index, 7])
        return make_sample(self.scans[index], self.voxels, self.augmentation, self.strides, rng)

    def join(self, samples: list[Sample]) -> tuple[SceneBatch, tuple[Report, ...]]:
        """One batch of the samples, which share its rows, with a report on each.

        Raises:
          SampleTooLarge: they do not fit together, and `overflow` is "error".
        """
        cut = partial(crop, strides=self.strides) if self.overflow == "crop" else None
        fitted = fit_together(samples, self.capacity, cut)
        if fitted is None:
            names = ", ".join(repr(sample.name) for sample in samples)
            raise SampleTooLarge(
                f"the scenes of a micro-batch ({names}) need {count_needed(samples)} rows, its "
                f"capacity is {self.capacity}: raise config.data.capacity.margin, or give larger "
                f"rows{', or set config.data.overflow to crop' * (cut is None)}"
            )
        reports = tuple(Report(own.name, own.size / own.num_voxels) for own in fitted)
        return join_samples(fitted, self.capacity), reports


def join_samples(samples: list[Sample], capacity: Rows) -> SceneBatch:
    """Joins scenes into one batch, padded to the capacity, which holds them."""
    return SceneBatch(
        join_grids([sample.grid for sample in samples], capacity[0]),
        join_rows([sample.labels for sample in samples], capacity[0], IGNORE_LABEL),
    )
