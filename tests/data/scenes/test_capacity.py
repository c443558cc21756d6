"""Capacities: measured for training, few for evaluation."""

import dataclasses

import numpy as np
import pytest
from fixtures.scenes import AUGMENTATION, build_scene, build_source
from hypothesis import given, settings
from hypothesis import strategies as st

from fourdc_jax.data.scenes.augmentation import SceneAugmentationParams
from fourdc_jax.data.scenes.batches import SceneMaker, SceneSamplingParams, count_needed, holds
from fourdc_jax.data.scenes.capacity import (
    SceneCapacityParams,
    choose_evaluation_rows,
    measure_scene_capacity,
)
from fourdc_jax.data.scenes.samples import SceneVoxelParams
from fourdc_jax.params import read_params

VOXELS = SceneVoxelParams(0.1, (2, 4, 8, 16), "constant")
CAPACITY = SceneCapacityParams(num_samples=8, margin=1.1, multiple=64, rows=(), growth=1.5)
TRAINING = (4096, 2048, 640, 128, 64)
SCANS = build_source([build_scene(seed, 400 * 2**seed) for seed in range(5)])
MAKER = SceneMaker(
    SCANS,
    VOXELS,
    read_params(SceneAugmentationParams, AUGMENTATION, "augmentation"),
    SceneSamplingParams(0, "crop"),
)


@pytest.mark.parametrize("batch", [1, 4, 32])
def test_measured_capacity_holds_batches_and_the_largest_scene(batch):
    rows = measure_scene_capacity(MAKER, CAPACITY, batch)
    assert rows == measure_scene_capacity(MAKER, CAPACITY, batch)
    assert all(count % 64 == 0 for count in rows)
    parts = [MAKER.make_sample(0, index, None) for index in range(5)]
    assert all(holds(rows, part.needed) for part in parts)
    rng = np.random.default_rng(1)
    overflows = [
        not holds(rows, count_needed([parts[i] for i in rng.integers(5, size=batch)]))
        for _ in range(200)
    ]
    assert np.mean(overflows) < 0.02


def test_few_scenes_are_measured_as_often_as_asked():
    """One scene, whose size after augmentation varies from epoch to epoch."""
    one = build_source([build_scene(0, 6000)])
    maker = SceneMaker(one, VOXELS, MAKER.augmentation, MAKER.sampling)
    exact = dataclasses.replace(CAPACITY, num_samples=12, margin=1.0, multiple=1)
    needs = np.array([maker.make_sample(epoch, 0, None).needed for epoch in range(12)])
    assert measure_scene_capacity(maker, exact, 1) == tuple(needs.max(axis=0).tolist())
    assert needs[:, 0].max() > 1.1 * needs[0, 0] or needs[:, 0].min() < 0.9 * needs[0, 0]


def test_large_batches_share_their_rows():
    """Far less than a share for the largest scene each."""
    alone = measure_scene_capacity(MAKER, CAPACITY, 1)
    together = measure_scene_capacity(MAKER, CAPACITY, 32)
    assert together[0] < 0.75 * 32 * alone[0]


@given(
    factor=st.floats(0.001, 300),
    wobble=st.tuples(*[st.floats(0.5, 1)] * 5),
    growth=st.floats(1.1, 4),
)
@settings(max_examples=200, deadline=None)
def test_evaluation_rows_hold_the_scene_with_little_to_spare(factor, wobble, growth):
    params = SceneCapacityParams(8, 1.1, 64, (), growth)
    needed = tuple(max(1, int(rows * factor * part)) for rows, part in zip(TRAINING, wobble))
    rows = choose_evaluation_rows(needed, TRAINING, params)
    assert holds(rows, needed)
    assert all(count % 64 == 0 for count in rows)
    tightest = max(need / max(count - 64, 1) for need, count in zip(needed, rows))
    assert tightest > 1 / growth - 1e-6


def test_many_scenes_take_few_capacities():
    needs = [tuple(int(rows * f) for rows in TRAINING) for f in np.geomspace(0.5, 20, 300)]
    found = {choose_evaluation_rows(needed, TRAINING, CAPACITY) for needed in needs}
    assert len(found) <= np.ceil(np.log(40) / np.log(1.5)) + 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"growth": 1.0}, "growth is 1.0; it must be above 1"),
        ({"num_samples": 0}, "num_samples is 0"),
        ({"margin": 0.0}, "margin 0.0"),
        ({"multiple": 0}, "multiple 0"),
    ],
)
def test_impossible_capacities_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CAPACITY, **changes)
