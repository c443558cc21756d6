"""Capacities of scenes: few programs for evaluation."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fourdc_jax.data.grids.capacity import holds
from fourdc_jax.data.scenes.capacity import CapacityParams, choose_evaluation_rows

CAPACITY = CapacityParams(num_samples=8, margin=1.1, multiple=64, rows=(), growth=1.5)
TRAINING = (4096, 2048, 640, 128, 64)


@given(
    factor=st.floats(0.001, 300),
    wobble=st.tuples(*[st.floats(0.5, 1)] * 5),
    growth=st.floats(1.1, 4),
)
@settings(max_examples=200, deadline=None)
def test_evaluation_rows_hold_the_scene_with_little_to_spare(factor, wobble, growth):
    params = CapacityParams(8, 1.1, 64, (), growth)
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
