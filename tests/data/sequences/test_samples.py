import dataclasses
import pickle

import numpy as np
import pytest

from fourdc_jax.data.scan import Scan
from fourdc_jax.data.sequences.augmentation import FrameTransformParams
from fourdc_jax.data.sequences.batches import VoxelParams
from fourdc_jax.data.sequences.samples import SampleMaker, SamplingParams, derive_seed, remember
from fourdc_jax.params import read_params

SAMPLING = SamplingParams(
    seed=0, trajectories_per_scan=20, shapes_per_scan=2, max_attempts=30, overflow="error", cached=2
)


@pytest.fixture(scope="module")
def maker(rooms, shapes, params, data_values):
    return build_maker(rooms, shapes, params, data_values)


def build_maker(rooms, shapes, params, data_values, sampling=SAMPLING):
    transforms = read_params(FrameTransformParams, data_values["transforms"], "transforms")
    voxels = read_params(VoxelParams, {**data_values["voxels"], "num_tracks": 64}, "voxels")
    return SampleMaker(rooms, shapes, params, transforms, voxels, sampling)


def assert_equal_samples(first, second):
    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))


def test_an_epoch_has_twenty_trajectories_a_scan(maker, rooms):
    assert len(maker) == 20 * len(rooms)
    scans = {maker.make_sequence(0, index)[0].scan for index in (0, 19)}
    assert scans == {"room_0"}
    assert maker.make_sequence(0, 20)[0].scan == "room_1"
    poses = {maker.make_sequence(0, index)[0].poses.tobytes() for index in range(8)}
    assert len(poses) == 8
    assert len({maker.make_sequence(0, index)[1].shape for index in range(12)}) == 3


def test_a_sample_depends_on_nothing_but_its_number(maker, rooms, shapes, params, data_values):
    fresh = pickle.loads(pickle.dumps(build_maker(rooms, shapes, params, data_values)))
    wanted = maker.make_sample(2, 7, None)
    for epoch, index in ((0, 30), (2, 8), (1, 7)):
        fresh.make_sample(epoch, index, None)
    found = fresh.make_sample(2, 7, None)
    assert_equal_samples(wanted[0], found[0])
    assert wanted[1] == found[1]
    for epoch, index in ((3, 7), (2, 8)):
        other, _ = maker.make_sample(epoch, index, None)
        assert not np.array_equal(other.coords_3d, wanted[0].coords_3d)


def test_epochs_keep_the_trajectory_and_change_the_points(maker):
    (first, _), (later, _) = maker.make_sequence(0, 3), maker.make_sequence(1, 3)
    np.testing.assert_array_equal(first.poses, later.poses)
    assert not np.array_equal(first.scene_presence, later.scene_presence)


def test_the_place_of_an_unfit_scan_is_taken_and_reported(maker):
    taken = set()
    for index in range(40, 60):
        sequence, report = maker.make_sequence(0, index)
        assert sequence.scan == report.scan != "room_2"
        assert len(report.rejections) >= SAMPLING.shapes_per_scan
        for rejection in report.rejections:
            assert rejection.scan == "room_2"
            assert "no cell" in rejection.reason
        taken.add(sequence.scan)
    assert taken == {"room_0", "room_1"}  # not one neighbour takes all


def test_giving_up_is_an_error_that_says_why(rooms, shapes, params, data_values):
    maker = build_maker(type(rooms)([rooms[2]]), shapes, params, data_values)
    with pytest.raises(RuntimeError, match=r"30 pairs.*'room_2'.*no cell"):
        maker.make_sequence(0, 0)


def test_a_damaged_scan_is_named(rooms, shapes, params, data_values):
    empty = Scan("hollow", np.zeros((0, 3), np.float32))
    maker = build_maker(type(rooms)([empty]), shapes, params, data_values)
    with pytest.raises(ValueError, match="'hollow'"):
        maker.make_sequence(0, 0)


def test_nothing_to_make_samples_from_is_an_error(rooms, shapes, params, data_values):
    with pytest.raises(ValueError, match="no scans"):
        build_maker(type(rooms)([]), shapes, params, data_values)
    with pytest.raises(ValueError, match="no shapes"):
        build_maker(rooms, type(rooms)([]), params, data_values)
    static = dataclasses.replace(params, with_object=False)
    sequence, report = build_maker(rooms, [], static, data_values).make_sequence(0, 0)
    assert len(sequence.object_points) == 0
    assert report.shape == ""


def test_scans_are_prepared_once_while_they_are_remembered(shapes, params, data_values, rooms):
    class Counting(type(rooms)):
        reads = 0

        def __getitem__(self, index):
            Counting.reads += 1
            return super().__getitem__(index)

    maker = build_maker(Counting(rooms), shapes, params, data_values)
    for index in (0, 1, 20, 2):
        maker.make_sequence(0, index)
    assert Counting.reads == 2


def test_remember_keeps_the_last_used():
    from collections import OrderedDict

    cache, made = OrderedDict(), []

    def get(key):
        return remember(cache, key, 2, lambda: made.append(key) or -key)

    assert [get(key) for key in (1, 2, 1, 3, 1, 2)] == [-1, -2, -1, -3, -1, -2]
    assert made == [1, 2, 3, 2]


def test_seeds_of_different_samples_differ():
    seeds = {derive_seed(s, i, a) for s in range(5) for i in range(50) for a in range(4)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
