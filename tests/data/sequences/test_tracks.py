import numpy as np
import pytest

from fourdc_jax.data.sequences.tracks import sample_tracks

NUM_SCENE, NUM_OBJECT, FRAMES = 400, 60, 4


def tables(seed=0, crowded=False):
    """Random rows; crowded: several points share their voxels in all frames."""
    rng = np.random.default_rng(seed)
    n = NUM_SCENE + NUM_OBJECT
    table_3d = np.arange(n * FRAMES, dtype=np.int32).reshape(n, FRAMES)
    table_4d = table_3d // 3
    absent = rng.random((n, FRAMES)) < 0.4
    if crowded:
        group = np.arange(n) // 4
        table_3d, table_4d, absent = table_3d[group * 4], table_4d[group * 4], absent[group * 4]
    return np.where(absent, np.int32(-1), table_3d), np.where(absent, np.int32(-1), table_4d)


def as_rows(*arrays):
    return [tuple(row) for row in np.concatenate(arrays, axis=1).tolist()]


def sample(table_3d, table_4d, count, share, seed=0):
    rng = np.random.default_rng(seed)
    return sample_tracks(table_3d, table_4d, NUM_SCENE, count, share, rng)


@pytest.mark.parametrize("crowded", [False, True])
@pytest.mark.parametrize("share", [None, 0.0, 0.25, 1.0])
def test_tracks_are_distinct_points_of_two_frames_at_least(crowded, share):
    table_3d, table_4d = tables(crowded=crowded)
    tracks_3d, tracks_4d = sample(table_3d, table_4d, 50, share)
    assert tracks_3d.shape == tracks_4d.shape == (50, FRAMES)
    assert tracks_3d.dtype == tracks_4d.dtype == np.int32
    rows = as_rows(tracks_3d, tracks_4d)
    assert set(rows) <= set(as_rows(table_3d, table_4d))
    assert ((tracks_3d >= 0).sum(axis=1) >= 2).all()
    np.testing.assert_array_equal(tracks_3d >= 0, tracks_4d >= 0)
    assert len(set(rows)) == 50


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.25, 10), (0.5, 20)])
def test_the_objects_share(share, expected):
    table_3d, table_4d = tables()
    tracks_3d, _ = sample(table_3d, table_4d, 40, share)
    on_object = tracks_3d.max(axis=1) >= NUM_SCENE * FRAMES
    assert on_object.sum() == expected


def test_in_proportion_all_points_are_drawn_alike():
    table_3d, table_4d = tables()
    counts = [
        (sample(table_3d, table_4d, 40, None, seed)[0].max(axis=1) >= NUM_SCENE * FRAMES).sum()
        for seed in range(100)
    ]
    assert np.mean(counts) == pytest.approx(40 * NUM_OBJECT / (NUM_SCENE + NUM_OBJECT), rel=0.1)


def test_each_side_fills_up_for_the_other():
    table_3d, table_4d = tables()
    eligible = (table_3d >= 0).sum(axis=1) >= 2
    things, scene = eligible[NUM_SCENE:].sum(), eligible[:NUM_SCENE].sum()
    tracks_3d, _ = sample(table_3d, table_4d, 300, 1.0)  # the object has not so many
    assert (tracks_3d.max(axis=1) >= NUM_SCENE * FRAMES).sum() == things
    assert (tracks_3d.max(axis=1) >= 0).all()
    tracks_3d, _ = sample(table_3d, table_4d, int(scene + things - 3), 0.0)
    assert (tracks_3d.max(axis=1) >= NUM_SCENE * FRAMES).sum() == things - 3


@pytest.mark.parametrize("share", [None, 0.25])
def test_fewer_tracks_than_asked_are_all_taken_and_padded(share):
    table_3d, table_4d = tables(crowded=True)
    tracks_3d, tracks_4d = sample(table_3d, table_4d, 1000, share)
    eligible = (table_3d >= 0).sum(axis=1) >= 2
    expected = set(as_rows(table_3d[eligible], table_4d[eligible]))
    found = as_rows(tracks_3d, tracks_4d)
    assert set(found) == expected | {(-1,) * 2 * FRAMES}
    assert len(found) - found.count((-1,) * 2 * FRAMES) == len(expected)


def test_points_that_differ_in_one_grid_only_are_two_tracks():
    table_3d = np.array([[0, 1], [0, 1], [2, 3], [2, 3]], np.int32)
    table_4d = np.array([[0, 1], [0, 2], [5, 6], [5, 6]], np.int32)
    tracks_3d, tracks_4d = sample_tracks(table_3d, table_4d, 4, 4, None, np.random.default_rng(0))
    assert sorted(as_rows(tracks_3d, tracks_4d)) == [
        *((-1, -1, -1, -1), (0, 1, 0, 1), (0, 1, 0, 2), (2, 3, 5, 6))
    ]


def test_no_points_give_no_tracks():
    none = np.zeros((0, 4), np.int32)
    tracks_3d, tracks_4d = sample_tracks(none, none, 0, 3, 0.5, np.random.default_rng(0))
    np.testing.assert_array_equal(tracks_3d, np.full((3, 4), -1))
    np.testing.assert_array_equal(tracks_4d, np.full((3, 4), -1))
