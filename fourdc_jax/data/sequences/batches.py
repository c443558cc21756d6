"""Several sequences in one batch of static shape, and the maker that the loader asks for them."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from fourdc_jax.data.grids.capacity import SampleTooLarge, count_needed, fit_together
from fourdc_jax.data.grids.grid import first_rows, join_grids
from fourdc_jax.data.sequences.augmentation import FrameTransformParams, draw_frame_transforms
from fourdc_jax.data.sequences.capacity import Capacity
from fourdc_jax.data.sequences.samples import (
    NetworkInputs,
    Sample,
    View,
    VoxelParams,
    crop_sequence,
    make_views,
)
from fourdc_jax.data.sequences.sampling import Report, SequenceMaker
from fourdc_jax.data.sequences.sequence import Sequence

# What else helps against an overflow, as it is handled now.
CROP = {"error": ", or set config.data.overflow to crop", "crop": ": objects are not cropped"}


class SequenceBatch(NamedTuple):
    """What both networks see of several sequences.

    Attributes:
      frames: for the 3D network: batch items are the frames, sequence * t + frame.
      sequence: for the 4D network: batch items are the sequences.
    """

    frames: View
    sequence: View


@dataclass(frozen=True)
class Maker:
    """Makes training samples and joins them into batches.

    Everything random in a sample comes from (seed, epoch, index): it is the same whatever was
    made before it, and in whatever process.

    Attributes:
      sequences: made before they are voxelised.
      transforms: how the 3D frames are moved.
      voxels: both grids and the tracks.
      inputs: what the networks want.
      overflow: what happens to samples that together are larger than the capacity.
      capacity: of a batch; None until it is known, see `with_capacity`.
    """

    sequences: SequenceMaker
    transforms: FrameTransformParams
    voxels: VoxelParams
    inputs: NetworkInputs
    overflow: Literal["error", "crop"]
    capacity: Capacity | None = None

    @property
    def seed(self) -> int:
        """Of everything random in the data."""
        return self.sequences.sampling.seed

    def __len__(self) -> int:
        """Samples in an epoch."""
        return len(self.sequences)

    def with_capacity(self, capacity: Capacity) -> "Maker":
        """The maker of batches of so many rows."""
        return replace(self, capacity=capacity)

    def make_sample(self, epoch: int, index: int) -> Sample:
        """The voxelised sample of an index, of whatever size it is.

        Raises:
          ValueError: no pair of scan and shape gives a sequence.
        """
        sequence, report = self.sequences.make_sequence(epoch, index)
        return Sample(*self._see(sequence, epoch), sequence, epoch, report)

    def join(self, samples: list[Sample]) -> tuple[SequenceBatch, tuple[Report, ...]]:
        """One batch of the samples, which share its rows, with a report on each.

        Raises:
          SampleTooLarge: they do not fit together, and `overflow` is "error"; or their objects
            alone are more than the capacity holds.
        """
        crop = self._crop if self.overflow == "crop" else None
        fitted = fit_together(samples, self.capacity.rows_3d + self.capacity.rows_4d, crop)
        if fitted is None:
            raise SampleTooLarge(explain(samples, self.capacity, self.overflow))
        return join_samples(fitted, self.capacity), tuple(sample.report for sample in fitted)

    def _crop(self, sample: Sample, num_points: int) -> Sample:
        frames, sequence = self._see(crop_sequence(sample.source, num_points), sample.epoch)
        report = replace(sample.report, kept=num_points / sample.size)
        return replace(sample, frames=frames, sequence=sequence, report=report)

    def _see(self, sequence: Sequence, epoch: int) -> tuple[View, View]:
        transforms = draw_frame_transforms(
            sequence.scene_center,
            sequence.num_frames,
            self.transforms,
            np.random.default_rng([sequence.seed, 3, epoch]),
        )
        rng = np.random.default_rng([sequence.seed, 4, epoch])
        return make_views(sequence, transforms, self.voxels, self.inputs, rng)


def explain(samples: list[Sample], capacity: Capacity, overflow: str) -> str:
    """Which samples do not fit, and what to do."""
    names = ", ".join(
        f"scan {sample.report.scan!r} with shape {sample.report.shape!r}" for sample in samples
    )
    needed, levels = count_needed(samples), len(capacity.rows_3d)
    return (
        f"the sequences of a micro-batch ({names}) need {needed[:levels]} rows in 3D and "
        f"{needed[levels:]} in 4D, its capacity is {capacity.rows_3d} and {capacity.rows_4d}: "
        f"raise config.data.capacity.margin, or give larger rows_3d and rows_4d{CROP[overflow]}"
    )


def join_samples(samples: list[Sample], capacity: Capacity) -> SequenceBatch:
    """Joins samples into one batch, padded to the capacity, which holds them."""
    num_frames = samples[0].source.num_frames
    return SequenceBatch(
        join_views([own.frames for own in samples], capacity.rows_3d[0], num_frames),
        join_views([own.sequence for own in samples], capacity.rows_4d[0], 1),
    )


def join_views(views: list[View], capacity: int, items: int) -> View:
    """Views of one network as one; rows of the tracks are then those of the joined grid."""
    grids = [view.grid for view in views]
    tracks = [
        np.where(view.tracks >= 0, view.tracks + first, view.tracks)
        for view, first in zip(views, first_rows(grids))
    ]
    return View(join_grids(grids, capacity, items), np.stack(tracks))
