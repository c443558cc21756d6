"""Capacities of scenes: few programs for evaluation."""

import dataclasses

import numpy as np
import pytest

from fourdc_jax.data.grids.capacity import holds
from fourdc_jax.data.scenes.capacity import CapacityParams, choose_evaluation_rows

CAPACITY = CapacityParams(num_samples=8, margin=1.1, multiple=64, rows=(), growth=1.5)
TRAINING = (4096, 2048, 640, 128, 64)


def test_evaluation_rows_hold_the_scene_with_little_to_spare():
    rng = np.random.default_rng(0)
    for factor in np.geomspace(0.001, 300, 200):
        growth, wobble = rng.uniform(1.1, 4), rng.uniform(0.5, 1, len(TRAINING))
        params = dataclasses.replace(CAPACITY, growth=growth)
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
