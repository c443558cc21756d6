import json
import logging as std_logging

import numpy as np
import pytest
from absl import logging

from fourdc_jax.data.loader import Batches, LoaderParams
from fourdc_jax.data.sequences.augmentation import FrameTransformParams
from fourdc_jax.data.sequences.batches import VoxelParams
from fourdc_jax.data.sequences.capacity import CapacityParams, measure_capacity
from fourdc_jax.data.sequences.samples import SampleMaker, SamplingParams
from fourdc_jax.params import read_params

SHAPE = {"batch": 1, "local_devices": 2, "accumulate": 2, "in_channels": 1}


def build_maker(rooms, shapes, params, data_values, overflow="crop"):
    return SampleMaker(
        rooms,
        shapes,
        params,
        read_params(FrameTransformParams, data_values["transforms"], "transforms"),
        read_params(
            VoxelParams,
            {**data_values["voxels"], "num_tracks": 16, "voxel_3d": 0.1, "voxel_4d": 0.2},
            "voxels",
        ),
        SamplingParams(0, 3, 2, 30, overflow, 4),  # nine samples an epoch
    )


@pytest.fixture(scope="module")
def maker(rooms, shapes, params, data_values):
    return build_maker(rooms, shapes, params, data_values)


@pytest.fixture(scope="module")
def capacity(maker):
    return measure_capacity(maker, CapacityParams(9, 1.5, 64, (), ()))


def batches(maker, capacity, **changes):
    values = {**SHAPE, "process_index": 0, "process_count": 1, "num_workers": 0, "prefetch": 1}
    return Batches(maker, capacity, LoaderParams(**{**values, **changes}))


def take(loader, count):
    found = [next(loader) for _ in range(count)]
    loader.close()
    return found


def assert_same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second):
        assert set(one) == set(other)
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_batches_have_the_leading_axes_and_static_shapes(maker, capacity):
    found = take(batches(maker, capacity, batch=3), 2)
    for batch in found:
        assert batch["coords_3d"].shape == (2, 2, 3 * capacity.rows_3d[0], 4)
        assert batch["coords_4d"].shape == (2, 2, 3 * capacity.rows_4d[0], 5)
        assert batch["tracks_3d"].shape == (2, 2, 3, 16, 4)
        assert batch["num_rows_3d"].shape == (2, 2)
        assert (batch["num_rows_3d"] > 0).all()


def test_every_epoch_holds_every_sample_once_in_another_order(maker, capacity):
    loader = batches(maker, capacity, local_devices=1, accumulate=1)
    epochs = [take(loader, 9), take(loader, 9)]
    for epoch, found in enumerate(epochs):
        wanted = {maker.make_sample(epoch, i, capacity)[0].coords_3d.tobytes() for i in range(9)}
        held = {b["coords_3d"][0, 0, : b["num_rows_3d"][0, 0]].tobytes() for b in found}
        assert held == wanted
    sizes = [[int(b["num_rows_4d"][0, 0]) for b in found] for found in epochs]
    assert sizes[0] != sizes[1]


def test_resuming_continues_as_if_it_had_never_stopped(maker, capacity):
    whole = take(batches(maker, capacity), 6)
    first = batches(maker, capacity)
    begun = [next(first) for _ in range(2)]
    state = json.loads(json.dumps(first.get_state()))
    next(first)  # delivered after the state was taken
    first.close()
    second = batches(maker, capacity)
    second.set_state(state)
    assert_same(whole, begun + take(second, 4))
    again = batches(maker, capacity)
    take(again, 6)
    assert again.get_state() == second.get_state()
    first.set_state(state)  # the same loader, back in time
    assert_same(whole[2:4], take(first, 2))


def test_worker_processes_change_nothing(maker, capacity):
    assert_same(take(batches(maker, capacity), 3), take(batches(maker, capacity, num_workers=2), 3))


def test_two_processes_share_the_samples_of_one(maker, capacity):
    """Each optimiser step sees the same sequences, whoever takes them."""

    def contents(loader, count):
        steps = []
        for batch in take(loader, count):
            rows, coords = batch["num_rows_3d"].ravel(), batch["coords_3d"]
            coords = coords.reshape(-1, *coords.shape[2:])
            steps.append([part[:n].tobytes() for part, n in zip(coords, rows)])
        return steps

    one = contents(batches(maker, capacity), 5)
    two = [
        contents(batches(maker, capacity, local_devices=1, process_index=r, process_count=2), 5)
        for r in range(2)
    ]
    for step, (first, second) in zip(one, zip(*two)):
        assert len(set(step)) == 4
        assert sorted(step) == sorted(first + second)


def test_unfit_scans_are_counted_and_reported_once(maker, capacity, caplog):
    logging.get_absl_logger().propagate = True
    loader = batches(maker, capacity, local_devices=1, accumulate=3)
    with caplog.at_level(std_logging.WARNING):
        take(loader, 6)
    told = [record for record in caplog.records if "gives no sequence" in record.getMessage()]
    assert len([record for record in told if "'room_2'" in record.getMessage()]) == 1
    assert loader.statistics.samples == 18
    reports = [maker.make_sample(e, i, capacity)[1] for e in range(2) for i in range(9)]
    assert loader.statistics.rejected == sum(len(r.rejections) for r in reports) >= 12
    assert loader.statistics.discarded == sum(r.discarded for r in reports)
    tried = loader.statistics.rejected + 18
    assert loader.statistics.rejection_rate == loader.statistics.rejected / tried
    assert 0 <= loader.statistics.discard_rate < 1


def test_samples_beyond_the_capacity_are_cropped_by_name_or_an_error(
    rooms, shapes, params, data_values, maker, capacity, caplog
):
    logging.get_absl_logger().propagate = True
    tight = type(capacity)(tuple(int(0.5 * rows) for rows in capacity.rows_3d), capacity.rows_4d)
    loader = batches(maker, tight, local_devices=1, accumulate=1)
    with caplog.at_level(std_logging.WARNING):
        found = take(loader, 2)
    assert loader.statistics.cropped == 2
    assert any("cropped to" in record.getMessage() for record in caplog.records)
    assert all(batch["coords_3d"].shape[2] == tight.rows_3d[0] for batch in found)
    strict = batches(build_maker(rooms, shapes, params, data_values, "error"), tight)
    with pytest.raises(ValueError, match=r"needs .* rows"):
        next(strict)
    strict.close()
