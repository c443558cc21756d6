"""Several scenes in one batch of static shape, and the maker that the loader asks for them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int

from fourdc_jax.data.label_sets import IGNORE_LABEL
from fourdc_jax.data.scenes.augmentation import SceneAugmentationParams
from fourdc_jax.data.scenes.samples import (
    SceneSample,
    SceneVoxelParams,
    Source,
    crop_scene,
    make_scene_sample,
)
from fourdc_jax.data.sequences.batches import PAD_COORDINATE, SampleTooLarge

Rows = tuple[int, ...]  # of a batch at every level of the network, the finest first


@dataclass(frozen=True)
class SceneSamplingParams:
    """How the scenes of an epoch become batches.

    seed: of everything random in the data.
    overflow: what happens to scenes that together are larger than the capacity.
    """

    seed: int
    overflow: Literal["error", "crop"]


@dataclass(frozen=True)
class SceneReport:
    """How a scene came into its batch; `kept` is the share of its voxels, 1 if not cropped."""

    scan: str
    kept: float
    rejections: tuple[()] = ()  # every scene can be used ...
    discarded: int = 0  # ... and every draw

    @property
    def subject(self) -> str:
        """What a message calls it."""
        return f"scene {self.scan!r}"


class SceneMaker:
    """Makes training samples and batches from labelled scenes; each is once in an epoch.

    Everything random in a sample comes from (seed, epoch, index). Picklable.
    """

    def __init__(
        self,
        scans: Source,
        voxels: SceneVoxelParams,
        augmentation: SceneAugmentationParams,
        sampling: SceneSamplingParams,
    ) -> None:
        """Raises ValueError where there are no scenes."""
        if len(scans) == 0:
            raise ValueError("there are no scenes to train on")
        self.scans, self.voxels = scans, voxels
        self.augmentation, self.sampling = augmentation, sampling

    def __len__(self) -> int:
        """Samples in an epoch."""
        return len(self.scans)

    def make_sample(self, epoch: int, index: int, capacity: Rows | None) -> SceneSample:
        """The augmented scene of an index, within the capacity of a batch (None: any size).

        Raises:
          SampleTooLarge: it does not fit, and `overflow` is "error".
        """
        rng = np.random.default_rng([self.sampling.seed, epoch, index, 7])
        sample = make_scene_sample(self.scans[index], self.voxels, self.augmentation, rng)
        return sample if capacity is None else self._fit([sample], capacity)[0]

    def join(
        self, samples: list[SceneSample], capacity: Rows, in_channels: int
    ) -> tuple[dict[str, np.ndarray], tuple[SceneReport, ...]]:
        """One batch of the samples, see `collate_scenes`, with a report on each.

        The capacity is that of the batch: scenes share it, whatever each takes.

        Raises:
          SampleTooLarge: they do not fit together, and `overflow` is "error".
          ValueError: the network takes another number of channels.
        """
        if in_channels != self.voxels.in_channels:
            raise ValueError(
                f"the network takes {in_channels} channels, features "
                f"{self.voxels.features!r} have {self.voxels.in_channels}"
            )
        fitted = self._fit(samples, capacity)
        reports = tuple(SceneReport(s.name, len(s.coords) / s.num_voxels) for s in fitted)
        return collate_scenes(fitted, capacity), reports

    def _fit(self, samples: list[SceneSample], capacity: Rows) -> list[SceneSample]:
        return fit_scenes(samples, capacity, self.voxels.strides, self.sampling.overflow == "crop")


def fit_scenes(
    samples: list[SceneSample], capacity: Rows, strides: tuple[int, ...], crop: bool
) -> list[SceneSample]:
    """The samples, the largest ones cropped to a common size where all together do not fit.

    Raises:
      SampleTooLarge: they do not fit and may not be cropped, or cannot be cropped that much.
    """
    sizes = np.array([len(sample.coords) for sample in samples])
    budget, fitted = int(sizes.sum()), samples
    while not holds(capacity, needed := count_needed(fitted)):
        budget = int(budget * min(0.97, *(rows / need for rows, need in zip(capacity, needed))))
        if not crop or budget < len(samples):
            names = ", ".join(repr(sample.name) for sample in samples)
            raise SampleTooLarge(
                f"{names}: {count_needed(samples)} rows are needed, the capacity of a batch is "
                f"{capacity}: raise the capacity, or let scenes be cropped"
            )
        limit = common_limit(sizes, budget)
        fitted = [s if len(s.coords) <= limit else crop_scene(s, limit, strides) for s in samples]
    return fitted


def count_needed(samples: list[SceneSample]) -> Rows:
    """Rows of all samples together at every level."""
    return tuple(sum(rows) for rows in zip(*(sample.needed for sample in samples)))


def holds(capacity: Rows, needed: Rows) -> bool:
    """Whether every level has at least as many rows as needed."""
    return all(need <= rows for need, rows in zip(needed, capacity))


def common_limit(sizes: Int[np.ndarray, "s"], budget: int) -> int:
    """The largest limit so that sizes cut to it sum to at most the budget, less than their sum."""
    ordered = np.sort(sizes)
    smaller = np.cumsum(ordered) - ordered  # [s] sum of the sizes before each one
    limits = (budget - smaller) // np.arange(len(sizes), 0, -1)  # [s] if those are left whole
    return int(limits[np.argmax(limits < ordered)])


def collate_scenes(samples: list[SceneSample], capacity: Rows) -> dict[str, np.ndarray]:
    """Joins scenes into one batch, padded to the capacity of the batch.

    Keys: `coords` int32 [n, 4] with (scene, x, y, z), `num_rows` int32 [], `features` float32
    [n, c] and `labels` int32 [n]; padding has features 0 and label `IGNORE_LABEL`.
    """
    num_rows = sum(len(sample.coords) for sample in samples)
    coords = np.full((capacity[0], 4), PAD_COORDINATE, np.int32)
    coords[:num_rows, 0] = np.repeat(np.arange(len(samples)), [len(s.coords) for s in samples])
    np.concatenate([sample.coords for sample in samples], out=coords[:num_rows, 1:])
    features = np.zeros((capacity[0], samples[0].features.shape[1]), np.float32)
    np.concatenate([sample.features for sample in samples], out=features[:num_rows])
    labels = np.full(capacity[0], IGNORE_LABEL, np.int32)
    np.concatenate([sample.labels for sample in samples], out=labels[:num_rows])
    return {
        "coords": coords,
        "num_rows": np.array(num_rows, np.int32),
        "features": features,
        "labels": labels,
    }
