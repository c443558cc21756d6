"""Which scan and shape make the sequence of an index, and what if they do not fit."""

import dataclasses
from collections import OrderedDict

import numpy as np
import pytest

from fourdc_jax.data.scan import Scan
from fourdc_jax.data.sequences.sampling import (
    Rejection,
    Report,
    SamplingParams,
    SequenceMaker,
    derive_seed,
    remember,
)

SAMPLING = SamplingParams(
    seed=0, trajectories_per_scan=20, shapes_per_scan=2, max_attempts=30, cached=2
)


@pytest.fixture(scope="module")
def maker(rooms, shapes, params):
    return SequenceMaker(rooms, shapes, params, SAMPLING)


def test_an_epoch_has_twenty_trajectories_a_scan(maker, rooms):
    assert len(maker) == 20 * len(rooms)
    scans = {maker.make_sequence(0, index)[0].scan for index in (0, 19)}
    assert scans == {"room_0"}
    assert maker.make_sequence(0, 20)[0].scan == "room_1"
    poses = {maker.make_sequence(0, index)[0].poses.tobytes() for index in range(8)}
    assert len(poses) == 8
    assert len({maker.make_sequence(0, index)[1].shape for index in range(12)}) == 3


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


def test_giving_up_is_an_error_that_says_why(rooms, shapes, params):
    maker = SequenceMaker(type(rooms)([rooms[2]]), shapes, params, SAMPLING)
    with pytest.raises(ValueError, match=r"30 pairs.*'room_2'.*no cell"):
        maker.make_sequence(0, 0)


def test_a_damaged_scan_is_named(rooms, shapes, params):
    empty = Scan("hollow", np.zeros((0, 3), np.float32))
    maker = SequenceMaker(type(rooms)([empty]), shapes, params, SAMPLING)
    with pytest.raises(ValueError, match="'hollow'"):
        maker.make_sequence(0, 0)


def test_nothing_to_make_samples_from_is_an_error(rooms, shapes, params):
    with pytest.raises(ValueError, match="no scans"):
        SequenceMaker(type(rooms)([]), shapes, params, SAMPLING)
    with pytest.raises(ValueError, match="no shapes"):
        SequenceMaker(rooms, type(rooms)([]), params, SAMPLING)
    static = dataclasses.replace(params, with_object=False)
    sequence, report = SequenceMaker(rooms, [], static, SAMPLING).make_sequence(0, 0)
    assert len(sequence.object_points) == 0
    assert report.shape == ""


def test_scans_are_prepared_once_while_they_are_remembered(shapes, params, rooms):
    class Counting(type(rooms)):
        reads = 0

        def __getitem__(self, index):
            Counting.reads += 1
            return super().__getitem__(index)

    maker = SequenceMaker(Counting(rooms), shapes, params, SAMPLING)
    for index in (0, 1, 20, 2):
        maker.make_sequence(0, index)
    assert Counting.reads == 2


def test_remember_keeps_the_last_used():
    cache, made = OrderedDict(), []

    def get(key):
        return remember(cache, key, 2, lambda: made.append(key) or -key)

    assert [get(key) for key in (1, 2, 1, 3, 1, 2)] == [-1, -2, -1, -3, -1, -2]
    assert made == [1, 2, 3, 2]


def test_seeds_of_different_samples_differ():
    seeds = {derive_seed(s, i, a) for s in range(5) for i in range(50) for a in range(4)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_report_counts_and_tells():
    rejections = (Rejection("hall", "desk_1", "no cell"), Rejection("hall", "sofa_2", "no cell"))
    report = Report("room", "chair_3", rejections, discarded=4, kept=0.5)
    assert report.counts == {"rejected": 2, "discarded": 4, "cropped": 1}
    texts, topics = zip(*report.messages)
    assert topics == ("hall", "hall", "")  # one message of a scan is enough
    assert texts[0].startswith("scan 'hall' gives no sequence with shape 'desk_1': no cell")
    assert "scan 'room' and shape 'chair_3' does not fit" in texts[2]
    assert "cropped to 50%" in texts[2]
    assert Report("room", "", (), 0).messages == ()
