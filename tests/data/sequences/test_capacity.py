"""Rows of a micro-batch of sequences: measured together, or given."""

import dataclasses

import numpy as np
import pytest
from fixtures.networks import INPUTS

from fourdc_jax.data.grids.capacity import count_needed
from fourdc_jax.data.sequences.augmentation import FrameTransformParams
from fourdc_jax.data.sequences.batches import Maker
from fourdc_jax.data.sequences.capacity import Capacity, CapacityParams
from fourdc_jax.data.sequences.from_config import choose_capacity
from fourdc_jax.data.sequences.samples import VoxelParams
from fourdc_jax.data.sequences.sampling import SamplingParams, SequenceMaker
from fourdc_jax.params import read_params

MEASURE = CapacityParams(num_samples=6, margin=1.25, multiple=256, rows_3d=(), rows_4d=())


@pytest.fixture(scope="module")
def maker(rooms, shapes, params, data_values):
    return Maker(
        SequenceMaker(rooms, shapes, params, SamplingParams(0, 20, 2, 30, 4)),
        read_params(FrameTransformParams, data_values["transforms"], "transforms"),
        read_params(VoxelParams, {**data_values["voxels"], "num_tracks": 8}, "voxels"),
        INPUTS,
        "error",
    )


def test_a_micro_batch_of_one_has_the_largest_need_with_margin_and_rounding(maker):
    found = choose_capacity(MEASURE, maker, batch=1)
    samples = [maker.make_sample(0, index) for index in (0, 12, 24, 35, 47, 59)]
    largest = np.max([sample.needed for sample in samples], axis=0)
    rows = np.array(found.rows_3d + found.rows_4d)
    assert (len(found.rows_3d), len(found.rows_4d)) == (5, 5)
    assert (rows % 256 == 0).all()
    assert (rows >= 1.25 * largest).all()
    assert (rows < 1.25 * largest + 256).all()
    assert choose_capacity(MEASURE, maker, batch=1) == found


def test_micro_batches_share_their_rows(maker):
    one = choose_capacity(MEASURE, maker, batch=1)
    many = choose_capacity(MEASURE, maker, batch=12)
    samples = [maker.make_sample(0, index) for index in (0, 12, 24, 35, 47, 59)]
    mean = count_needed(samples)[0] / len(samples)
    assert 12 * mean < many.rows_3d[0] < 12 * one.rows_3d[0]


def test_given_rows_are_taken_as_they_are(maker):
    given = dataclasses.replace(MEASURE, rows_3d=(9, 8, 7, 6, 5), rows_4d=(5, 4, 3, 2, 1))
    assert choose_capacity(given, maker, 12) == Capacity((9, 8, 7, 6, 5), (5, 4, 3, 2, 1))


@pytest.mark.parametrize("rows", [((9, 8), (5, 4)), ((9, 8, 7, 6, 5), ())])
def test_rows_for_another_number_of_levels_are_refused(maker, rows):
    given = dataclasses.replace(MEASURE, rows_3d=rows[0], rows_4d=rows[1])
    with pytest.raises(ValueError, match="give 5 and 5"):
        choose_capacity(given, maker, 12)
