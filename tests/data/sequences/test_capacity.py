import dataclasses

import numpy as np
import pytest

from fourdc_jax.data.sequences.augmentation import FrameTransformParams
from fourdc_jax.data.sequences.batches import Capacity, VoxelParams
from fourdc_jax.data.sequences.capacity import CapacityParams, add_margin, measure_capacity
from fourdc_jax.data.sequences.from_config import choose_capacity
from fourdc_jax.data.sequences.samples import SampleMaker, SamplingParams
from fourdc_jax.params import read_params

MEASURE = CapacityParams(num_samples=6, margin=1.25, multiple=256, rows_3d=(), rows_4d=())


@pytest.fixture(scope="module")
def maker(rooms, shapes, params, data_values):
    return SampleMaker(
        rooms,
        shapes,
        params,
        read_params(FrameTransformParams, data_values["transforms"], "transforms"),
        read_params(VoxelParams, {**data_values["voxels"], "num_tracks": 8}, "voxels"),
        SamplingParams(0, 20, 2, 30, "error", 4),
    )


def test_capacity_is_the_largest_need_with_margin_and_rounding(maker):
    found = measure_capacity(maker, MEASURE)
    needs = [maker.make_sample(0, i, None)[0].needed for i in (0, 12, 24, 35, 47, 59)]
    for grid in ("rows_3d", "rows_4d"):
        largest = np.max([getattr(need, grid) for need in needs], axis=0)
        rows = np.array(getattr(found, grid))
        assert len(rows) == 5
        assert (rows % 256 == 0).all()
        assert (rows >= 1.25 * largest).all()
        assert (rows < 1.25 * largest + 256).all()
    assert measure_capacity(maker, MEASURE) == found


def test_more_samples_than_there_are_measure_all(maker):
    many = dataclasses.replace(MEASURE, num_samples=10_000, multiple=1, margin=1.0)
    small = dataclasses.replace(maker.sampling, trajectories_per_scan=2)
    maker = SampleMaker(
        *(maker.scans, maker.shapes, maker.sequence, maker.transforms, maker.voxels, small)
    )
    needs = [maker.make_sample(0, i, None)[0].needed for i in range(6)]
    expected = tuple(np.max([need.rows_3d for need in needs], axis=0).tolist())
    assert measure_capacity(maker, many).rows_3d == expected


def test_add_margin():
    assert add_margin(np.array([[7, 1], [3, 2]]), dataclasses.replace(MEASURE, multiple=4)) == (
        12,
        4,
    )


def test_given_rows_are_taken_as_they_are(maker):
    given = {**dataclasses.asdict(MEASURE), "rows_3d": (9, 8, 7, 6, 5), "rows_4d": (5, 4, 3, 2, 1)}
    found = choose_capacity({"capacity": given}, maker)
    assert found == Capacity((9, 8, 7, 6, 5), (5, 4, 3, 2, 1))


@pytest.mark.parametrize("rows", [((9, 8), (5, 4)), ((9, 8, 7, 6, 5), ())])
def test_rows_for_another_number_of_levels_are_refused(maker, rows):
    given = {**dataclasses.asdict(MEASURE), "rows_3d": rows[0], "rows_4d": rows[1]}
    with pytest.raises(ValueError, match="give 5 each"):
        choose_capacity({"capacity": given}, maker)


def test_capacities_compare_and_multiply_level_by_level():
    capacity = Capacity((10, 5), (8, 4))
    assert capacity.times(3) == Capacity((30, 15), (24, 12))
    assert capacity.holds(Capacity((10, 5), (8, 4)))
    for needed in (Capacity((11, 5), (8, 4)), Capacity((10, 5), (8, 5))):
        assert not capacity.holds(needed)
