"""Batches of sequences: joined views, rows that samples share, crops around the object's path."""

import dataclasses
import pickle

import numpy as np
import pytest
from fixtures.networks import INPUTS

from fourdc_jax.data.grids.capacity import SampleTooLarge, count_needed, holds
from fourdc_jax.data.grids.grid import PAD_COORDINATE
from fourdc_jax.data.sequences.augmentation import FrameTransformParams
from fourdc_jax.data.sequences.batches import Maker, join_samples
from fourdc_jax.data.sequences.capacity import Capacity
from fourdc_jax.data.sequences.samples import VoxelParams, crop_sequence
from fourdc_jax.data.sequences.sampling import SamplingParams, SequenceMaker
from fourdc_jax.params import read_params

INDICES = (0, 7, 25)  # two of one room, and one of another


@pytest.fixture(scope="module")
def maker(rooms, shapes, params, data_values):
    return build_maker(rooms, shapes, params, data_values)


def build_maker(rooms, shapes, params, data_values, overflow="crop"):
    transforms = read_params(FrameTransformParams, data_values["transforms"], "transforms")
    voxels = read_params(VoxelParams, {**data_values["voxels"], "num_tracks": 64}, "voxels")
    sequences = SequenceMaker(rooms, shapes, params, SamplingParams(0, 20, 2, 30, 4))
    return Maker(sequences, transforms, voxels, INPUTS, overflow)


@pytest.fixture(scope="module")
def samples(maker):
    return [maker.make_sample(0, index) for index in INDICES]


def scaled(samples, factor=1.0):
    """Capacity of so many times what the samples need together."""
    rows = tuple(int(factor * rows) for rows in count_needed(samples))
    return Capacity(rows[:5], rows[5:])


def assert_equal_views(first, second):
    np.testing.assert_array_equal(first.tracks, second.tracks)
    for one, other in zip(first.grid, second.grid, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_sample_depends_on_nothing_but_its_number(maker, rooms, shapes, params, data_values):
    fresh = pickle.loads(pickle.dumps(build_maker(rooms, shapes, params, data_values)))
    wanted = maker.make_sample(2, 7)
    for epoch, index in ((0, 30), (2, 8), (1, 7)):
        fresh.make_sample(epoch, index)
    found = fresh.make_sample(2, 7)
    assert_equal_views(wanted.frames, found.frames)
    assert_equal_views(wanted.sequence, found.sequence)
    assert wanted.report == found.report
    for epoch, index in ((3, 7), (2, 8)):
        other = maker.make_sample(epoch, index)
        assert not np.array_equal(other.frames.grid.coords, wanted.frames.grid.coords)


def test_a_batch_keeps_the_padding_contract(samples):
    capacity = scaled(samples, 1.5)
    batch = join_samples(samples, capacity)
    for view, rows, width in (
        (batch.frames, capacity.rows_3d[0], 4),
        (batch.sequence, capacity.rows_4d[0], 5),
    ):
        coords, num_rows, features, needed = view.grid
        assert coords.shape == (rows, width)
        assert features.shape == (rows, 1)
        assert (coords.dtype, features.dtype, needed.dtype) == (np.int32, np.float32, np.int32)
        assert (num_rows.dtype, num_rows.shape) == (np.int32, ())
        assert (coords[num_rows:] == PAD_COORDINATE).all()
        assert (features[:num_rows] == 1).all()
        assert (features[num_rows:] == 0).all()
        real = [tuple(row) for row in coords[:num_rows].tolist()]
        assert real == sorted(set(real))  # unique, and in lexicographic order
        assert view.tracks.shape == (3, 64, 4)
        assert view.tracks.dtype == np.int32
        assert view.tracks.max() < num_rows
    needed = (*batch.frames.grid.needed, *batch.sequence.grid.needed)
    assert needed == count_needed(samples)
    assert batch.frames.grid.num_rows == sum(len(own.frames.grid.coords) for own in samples)


def test_a_batch_renumbers_sequences_frames_and_tracks(samples):
    batch = join_samples(samples, scaled(samples, 1.5))
    for index, own in enumerate(samples):
        for view, part, items in (
            (batch.frames, own.frames, 4),
            (batch.sequence, own.sequence, 1),
        ):
            coords = view.grid.coords
            here = coords[coords[:, 0] // items == index]
            offset = np.zeros(coords.shape[1], np.int32)
            offset[0] = index * items
            np.testing.assert_array_equal(here - offset, part.grid.coords)
            tracks = view.tracks[index]
            np.testing.assert_array_equal(tracks < 0, part.tracks < 0)
            held = tracks >= 0
            np.testing.assert_array_equal(
                coords[tracks[held]] - offset, part.grid.coords[part.tracks[held]]
            )


def test_samples_that_fit_are_joined_as_they_are(maker, samples):
    exact = scaled(samples)
    strict = dataclasses.replace(maker, overflow="error").with_capacity(exact)
    batch, reports = strict.join(samples)
    assert_equal_views(batch.frames, join_samples(samples, exact).frames)
    assert_equal_views(batch.sequence, join_samples(samples, exact).sequence)
    assert reports == tuple(sample.report for sample in samples)
    assert all(report.kept == 1 for report in reports)


@pytest.mark.parametrize("level", range(5))
@pytest.mark.parametrize("grid", ["rows_3d", "rows_4d"])
def test_one_row_too_few_at_any_level_is_an_error_with_names(maker, samples, grid, level):
    capacity = scaled(samples)
    rows = list(getattr(capacity, grid))
    rows[level] -= 1
    strict = dataclasses.replace(maker, overflow="error")
    tight = strict.with_capacity(capacity._replace(**{grid: tuple(rows)}))
    message = r"scan 'room_0' with shape 'night_stand_1', scan .* need .* 3D .*\.overflow to crop"
    with pytest.raises(SampleTooLarge, match=message):
        tight.join(samples)


@pytest.mark.parametrize("factor", [0.9, 0.3])
def test_the_largest_samples_are_cropped_to_a_common_size(maker, samples, factor):
    tight = scaled(samples, factor)
    cropping = maker.with_capacity(tight)
    batch, reports = cropping.join(samples)
    again, _ = cropping.join(samples)
    assert_equal_views(batch.frames, again.frames)
    assert_equal_views(batch.sequence, again.sequence)
    needed = (*batch.frames.grid.needed.tolist(), *batch.sequence.grid.needed.tolist())
    assert holds(tight.rows_3d + tight.rows_4d, needed)
    assert needed[0] > 0.8 * tight.rows_3d[0]  # little more than needed is cropped
    sizes = np.array([sample.size for sample in samples])
    kept = np.rint([report.kept * size for report, size in zip(reports, sizes)])
    np.testing.assert_array_equal(kept, np.minimum(sizes, kept.max()))
    for report in reports:
        assert report.counts["cropped"] == (report.kept < 1)
        assert sum("cropped to" in text for text, _ in report.messages) == (report.kept < 1)


def test_a_cropped_sample_is_made_of_the_nearest_points(maker, samples):
    """The crop is that of the points, with the frames moved and the tracks drawn as before."""
    alone = [samples[0]]
    batch, (report,) = maker.with_capacity(scaled(alone, 0.5)).join(alone)
    assert 0.3 < report.kept < 0.6
    points = crop_sequence(alone[0].source, round(report.kept * alone[0].size))
    frames, sequence = maker._see(points, alone[0].epoch)
    num_rows = batch.sequence.grid.num_rows
    np.testing.assert_array_equal(batch.sequence.grid.coords[:num_rows], sequence.grid.coords)
    np.testing.assert_array_equal(batch.frames.tracks[0], frames.tracks)


def test_objects_larger_than_the_capacity_are_an_error(maker, samples):
    with pytest.raises(SampleTooLarge, match=r"give larger .*: objects are not cropped"):
        maker.with_capacity(scaled(samples, 0.001)).join(samples)
