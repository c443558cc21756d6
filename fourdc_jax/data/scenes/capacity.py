"""How many rows batches of scenes need: measured for training, in a few steps for evaluation."""

import math
from dataclasses import dataclass

import numpy as np

from fourdc_jax.data.scenes.batches import Rows, SceneMaker, holds
from fourdc_jax.data.sequences.capacity import MarginParams, add_margin

GROUPS = 64  # random batches of the measured scenes


@dataclass(frozen=True)
class SceneCapacityParams(MarginParams):
    """Rows of a batch at every level: given, or where empty, measured.

    rows: of a training batch.
    growth: factor between the capacities that evaluation compiles programs for.
    """

    rows: Rows
    growth: float

    def __post_init__(self) -> None:
        """Raises ValueError for values that nothing can be measured with."""
        super().__post_init__()
        if self.growth <= 1:
            raise ValueError(f"config.data.capacity.growth is {self.growth}; it must be above 1")


def measure_scene_capacity(maker: SceneMaker, params: SceneCapacityParams, batch: int) -> Rows:
    """Rows at every level that all but rare batches of so many scenes fit.

    The largest need of random batches of the measured scenes, times the margin, rounded up. Scenes
    differ in size by a factor of ten, batches of many by little: a batch shares its rows. Depends
    on the data and the configuration only, so that a resumed run compiles the same program.
    """
    count = min(params.num_samples, len(maker))
    indices = np.linspace(0, len(maker) - 1, count).round().astype(int).tolist()
    epochs = range(math.ceil(params.num_samples / count))  # few scenes are measured several times
    needs = np.array([maker.make_sample(e, i, None).needed for e in epochs for i in indices])
    rng = np.random.default_rng([maker.sampling.seed, 8])
    groups = needs[rng.integers(len(needs), size=(GROUPS, batch))]  # [groups, batch, levels]
    return add_margin(np.concatenate([groups.sum(axis=1), needs]), params)


def choose_evaluation_rows(needed: Rows, training: Rows, params: SceneCapacityParams) -> Rows:
    """The smallest capacity that holds a scene, out of few for all scenes.

    They are the training capacity times a power of `growth`, rounded up: scenes of sizes that
    differ by a factor f take about log(f) / log(growth) programs.
    """
    ratio = max(need / rows for need, rows in zip(needed, training))
    power = math.floor(math.log(ratio, params.growth))  # rounding up may let a smaller one do
    while not holds(rows := scale_rows(training, params.growth**power, params.multiple), needed):
        power += 1
    return rows


def scale_rows(rows: Rows, factor: float, multiple: int) -> Rows:
    """Rows of every level times a factor, rounded up."""
    return tuple(math.ceil(count * factor / multiple) * multiple for count in rows)
