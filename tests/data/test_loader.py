"""Batches: shuffled, shared among processes, resumable; counts and warnings of samples."""

import json
import logging as std_logging
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from absl import logging
from fixtures.networks import INPUTS

from fourdc_jax.data.loader import Batches, LoaderParams, stack
from fourdc_jax.data.report import Message
from fourdc_jax.data.sequences.augmentation import FrameTransformParams
from fourdc_jax.data.sequences.batches import Maker
from fourdc_jax.data.sequences.capacity import CapacityParams
from fourdc_jax.data.sequences.from_config import choose_capacity
from fourdc_jax.data.sequences.samples import VoxelParams
from fourdc_jax.data.sequences.sampling import SamplingParams, SequenceMaker
from fourdc_jax.params import read_params

SHAPE = {"batch": 1, "local_devices": 2, "accumulate": 2}
SHAPE |= {"process_index": 0, "process_count": 1, "num_workers": 0, "prefetch": 1}


@pytest.fixture(scope="module")
def maker(rooms, shapes, params, data_values):
    """Nine samples an epoch, and room for three of them."""
    values = {"num_tracks": 16, "voxel_3d": 0.1, "voxel_4d": 0.2}
    maker = Maker(
        SequenceMaker(rooms, shapes, params, SamplingParams(0, 3, 2, 30, 4)),
        read_params(FrameTransformParams, data_values["transforms"], "transforms"),
        read_params(VoxelParams, {**data_values["voxels"], **values}, "voxels"),
        INPUTS,
        "crop",
    )
    return maker.with_capacity(choose_capacity(CapacityParams(9, 1.5, 64, (), ()), maker, 3))


def batches(maker, **changes):
    return Batches(maker, LoaderParams(**{**SHAPE, **changes}))


def take(loader, count):
    found = [next(loader) for _ in range(count)]
    loader.close()
    return found


def arrays(batch):
    return [batch.frames.tracks, *batch.frames.grid, batch.sequence.tracks, *batch.sequence.grid]


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        for ours, theirs in zip(arrays(one), arrays(other), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def frames_of(batch):
    """The 3D coordinates of every micro-batch, as bytes."""
    coords, rows = batch.frames.grid.coords, batch.frames.grid.num_rows.ravel()
    return [part[:n].tobytes() for part, n in zip(coords.reshape(-1, *coords.shape[2:]), rows)]


def test_batches_have_the_leading_axes_and_static_shapes(maker):
    for batch in take(batches(maker, batch=3), 2):
        assert batch.frames.grid.coords.shape == (2, 2, maker.capacity.rows_3d[0], 4)
        assert batch.sequence.grid.coords.shape == (2, 2, maker.capacity.rows_4d[0], 5)
        assert batch.frames.tracks.shape == (2, 2, 3, 16, 4)
        assert batch.frames.grid.num_rows.shape == (2, 2)
        assert (batch.frames.grid.num_rows > 0).all()


def test_every_epoch_holds_every_sample_once_in_another_order(maker):
    loader = batches(maker, local_devices=1, accumulate=1)
    epochs = [take(loader, 9), take(loader, 9)]
    for epoch, found in enumerate(epochs):
        made = [maker.make_sample(epoch, index) for index in range(9)]
        wanted = {sample.frames.grid.coords.tobytes() for sample in made}
        assert {part for batch in found for part in frames_of(batch)} == wanted
    sizes = [[int(batch.sequence.grid.num_rows[0, 0]) for batch in found] for found in epochs]
    assert sizes[0] != sizes[1]


def test_resuming_continues_as_if_it_had_never_stopped(maker):
    whole = take(batches(maker), 6)
    first = batches(maker)
    begun = [next(first) for _ in range(2)]
    state = json.loads(json.dumps(first.get_state()))
    next(first)  # delivered after the state was taken
    first.close()
    second = batches(maker)
    second.set_state(state)
    assert_same(whole, begun + take(second, 4))
    again = batches(maker)
    take(again, 6)
    assert again.get_state() == second.get_state()
    first.set_state(state)  # the same loader, back in time
    assert_same(whole[2:4], take(first, 2))


def test_worker_processes_change_nothing(maker):
    assert_same(take(batches(maker), 3), take(batches(maker, num_workers=2), 3))


def test_two_processes_share_the_samples_of_one(maker):
    """Each optimiser step sees the same sequences, whoever takes them."""

    def contents(loader, count):
        return [frames_of(batch) for batch in take(loader, count)]

    one = contents(batches(maker), 5)
    two = [
        contents(batches(maker, local_devices=1, process_index=rank, process_count=2), 5)
        for rank in range(2)
    ]
    for step, (first, second) in zip(one, zip(*two)):
        assert len(set(step)) == 4
        assert sorted(step) == sorted(first + second)


def test_unfit_scans_are_counted_and_reported_once(maker, caplog):
    logging.get_absl_logger().propagate = True
    loader = batches(maker, local_devices=1, accumulate=3)
    with caplog.at_level(std_logging.WARNING):
        take(loader, 6)
    told = [record for record in caplog.records if "gives no sequence" in record.getMessage()]
    assert len([record for record in told if "'room_2'" in record.getMessage()]) == 1
    reports = [maker.make_sample(e, i).report for e in range(2) for i in range(9)]
    rejected = sum(len(report.rejections) for report in reports)
    assert rejected >= 12
    assert loader.statistics == {
        "samples": 18,
        "rejected": rejected,
        "discarded": sum(report.discarded for report in reports),
        "cropped": 0,
    }


def test_samples_beyond_the_capacity_are_cropped_by_name_or_an_error(maker, caplog):
    logging.get_absl_logger().propagate = True
    capacity = maker.capacity
    tight = capacity._replace(rows_3d=tuple(int(0.15 * rows) for rows in capacity.rows_3d))
    loader = batches(maker.with_capacity(tight), local_devices=1, accumulate=1)
    with caplog.at_level(std_logging.WARNING):
        found = take(loader, 2)
    assert loader.statistics["cropped"] == 2
    assert any("cropped to" in record.getMessage() for record in caplog.records)
    assert all(batch.frames.grid.coords.shape[2] == tight.rows_3d[0] for batch in found)
    strict = batches(replace(maker, overflow="error").with_capacity(tight))
    with pytest.raises(ValueError, match=r"need .* rows"):
        next(strict)
    strict.close()


class Pair(NamedTuple):
    left: np.ndarray
    right: np.ndarray


class Told(NamedTuple):
    counts: dict
    messages: tuple


class Numbers:
    """Samples that are their own number; every third has something to tell."""

    seed = 0

    def __len__(self):
        return 6

    def make_sample(self, epoch, index):
        return 100 * epoch + index

    def join(self, samples):
        reports = [
            Told({"thirds": 1}, (Message("twice", "a topic"), Message("each")))
            if number % 3 == 0
            else Told({}, ())
            for number in samples
        ]
        values = np.array(samples)
        return Pair(values, Pair(-values, values[0])), tuple(reports)


def test_the_loader_knows_nothing_of_what_it_delivers(caplog):
    logging.get_absl_logger().propagate = True
    loader = batches(Numbers(), batch=2, accumulate=1)
    with caplog.at_level(std_logging.WARNING):
        found = take(loader, 3)
    assert sorted(np.concatenate([batch.left.ravel() for batch in found])) == [
        *(0, 1, 2, 3, 4, 5, *range(100, 106))
    ]
    assert all(batch.left.shape == (2, 1, 2) for batch in found)
    assert all((batch.right.left == -batch.left).all() for batch in found)
    assert all((batch.right.right == batch.left[..., 0]).all() for batch in found)
    told = [record.getMessage() for record in caplog.records]
    count = loader.statistics["thirds"]
    assert count == sum(number % 3 == 0 for number in (*range(6), *range(100, 106)))
    assert told.count("twice") == 1
    assert told.count("each") == count


def test_positions_of_earlier_versions_load():
    """They count what the samples of that time were asked for, whether they had any or not."""
    statistics = {"samples": 12, "rejected": 0, "discarded": 0, "cropped": 3}
    loader = batches(Numbers(), batch=2, accumulate=1)
    loader.set_state({"step": 3, "statistics": statistics})
    take(loader, 1)
    assert loader.get_state()["step"] == 4
    after = loader.get_state()["statistics"]
    assert (after["samples"], after["cropped"]) == (16, 3)


def test_stacked_parts_keep_their_structure():
    parts = [Pair(np.full(3, i), Pair(np.int32(i), np.ones((2, 2)))) for i in range(4)]
    stacked = stack(parts, (2, 2))
    assert isinstance(stacked, Pair)
    assert isinstance(stacked.right, Pair)
    assert stacked.left.shape == (2, 2, 3)
    assert stacked.right[0].tolist() == [[0, 1], [2, 3]]
    assert stacked.right[1].shape == (2, 2, 2, 2)
