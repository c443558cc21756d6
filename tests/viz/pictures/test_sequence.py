"""Pictures of sequences: which tracks are shown, where, and what is refused."""

import numpy as np
import pytest
from matplotlib import image

from fourdc_jax.viz.pictures.hero import draw_hero
from fourdc_jax.viz.pictures.sequence import (
    choose_tracks,
    draw_sequence,
    farthest_points,
    locate,
    merge_scene,
    sequence_camera,
    time_color,
)


def make_sequence(t=3, seed=0):
    """A 4 x 3 m room of 3000 points and a cube of 400 that moves by 0.5 m a frame."""
    rng = np.random.default_rng(seed)
    floor = rng.uniform([0, 0, 0], [4, 3, 0], (1500, 3))
    wall = rng.uniform([0, 3, 0], [4, 3, 2.4], (750, 3))
    side = rng.uniform([0, 0, 0], [0, 3, 2.4], (750, 3))
    scan = np.concatenate([floor, wall, side]).astype(np.float32)
    cube = rng.uniform([-0.2, -0.2, 0], [0.2, 0.2, 0.4], (400, 3)).astype(np.float32)
    frames, ids = [], []
    for i in range(t):
        scan_rows = np.flatnonzero(rng.random(len(scan)) < 0.8)
        cube_rows = np.flatnonzero(rng.random(len(cube)) < 0.8)
        moved = cube[cube_rows] + np.array([1.0 + 0.5 * i, 1.5, 0], np.float32)
        frames.append(np.concatenate([scan[scan_rows], moved]))
        names = np.concatenate([scan_rows, len(scan) + cube_rows]).astype(np.int32)
        order = rng.permutation(len(names))
        frames[-1], names = frames[-1][order], names[order]
        ids.append(names)
    return frames, ids, len(scan)


def test_locate_finds_each_id_in_each_frame():
    frames, ids, _ = make_sequence()
    wanted = np.array([0, 7, 3100, 99_999])
    found = locate(frames, ids, wanted)
    assert found.shape == (4, 3, 3)
    for m, name in enumerate(wanted):
        for t in range(3):
            rows = np.flatnonzero(ids[t] == name)
            expected = frames[t][rows[0]] if len(rows) else np.full(3, np.nan)
            np.testing.assert_array_equal(found[m, t], expected.astype(np.float64))


def test_tracks_are_present_in_all_frames_and_static_ones_stay():
    frames, ids, n = make_sequence()
    camera = sequence_camera(frames, ids, n, width=240, height=180)
    tracks = choose_tracks(frames, ids, n, camera, object_tracks=5, scene_tracks=3)
    assert tracks.moving.tolist() == [True] * 5 + [False] * 3
    assert np.isfinite(tracks.positions).all()
    steps = np.diff(tracks.positions, axis=1)
    np.testing.assert_allclose(steps[:5], np.broadcast_to([0.5, 0, 0], (5, 2, 3)), atol=1e-6)
    np.testing.assert_array_equal(steps[5:], 0)


def test_object_that_is_never_complete_still_has_tracks():
    frames, ids, n = make_sequence(t=2)
    parts = [ids[0] % 2 == 0, ids[1] % 2 == 1]  # no point of the object is in both frames
    frames = [f[(i < n) | p] for f, i, p in zip(frames, ids, parts)]
    ids = [i[(i < n) | p] for i, p in zip(ids, parts)]
    camera = sequence_camera(frames, ids, n, width=240, height=180)
    tracks = choose_tracks(frames, ids, n, camera, object_tracks=4, scene_tracks=2)
    present = np.isfinite(tracks.positions[..., 0])
    assert (present[:4].sum(1) == 1).all()
    assert present[4:].all()


def test_merged_scene_holds_each_scan_point_once():
    frames, ids, n = make_sequence()
    scene, names = merge_scene(frames, ids, n)
    expected = np.unique(np.concatenate([i[i < n] for i in ids]))
    np.testing.assert_array_equal(names, expected)
    assert scene.shape == (len(expected), 3)


def test_farthest_points_spread_from_the_highest():
    points = np.array([[0.0, 0, 0], [0, 0, 1], [0.1, 0, 0.9], [5, 0, 0], [5, 5, 0]])
    assert farthest_points(points, 3).tolist()[0] == 1
    assert set(farthest_points(points, 3)) == {1, 4, 3} or set(farthest_points(points, 3)) == {
        1, 4, 0,
    }  # fmt: skip
    assert len(farthest_points(points, 9)) == 5
    assert len(farthest_points(points[:0], 2)) == 0


@pytest.mark.parametrize("t", [1, 2, 5])
def test_sequence_picture_shows_every_frames_colour(tmp_path, t):
    frames, ids, n = make_sequence(t)
    camera = sequence_camera(frames, ids, n, width=240, height=180)
    path = draw_sequence(frames, ids, n, tmp_path / "new" / "a.png", title="room", camera=camera)
    picture = image.imread(path)[..., :3]
    for i in range(t):
        dot = np.abs(picture - time_color(i, t)).max(-1) < 0.01  # the label's dot at least
        assert dot.sum() > 20


def test_sequence_picture_is_reproducible(tmp_path):
    frames, ids, n = make_sequence(2)
    camera = sequence_camera(frames, ids, n, width=240, height=180)
    paths = [draw_sequence(frames, ids, n, tmp_path / f"{k}.png", camera=camera) for k in "ab"]
    np.testing.assert_array_equal(*(image.imread(path) for path in paths))


def test_impossible_sequences_are_refused_by_name(tmp_path):
    frames, ids, n = make_sequence(2)
    path = tmp_path / "a.png"
    with pytest.raises(ValueError, match="at least one frame"):
        draw_sequence([], [], n, path)
    with pytest.raises(ValueError, match="2 frames but 1"):
        draw_sequence(frames, ids[:1], n, path)
    with pytest.raises(ValueError, match="frame 1 has"):
        draw_sequence(frames, [ids[0], ids[1][:-1]], n, path)
    with pytest.raises(ValueError, match="frame 0 has no point of the scan"):
        draw_sequence(frames, ids, 0, path)
    assert not path.exists()


def test_static_sequence_has_tracks_of_the_scan_only(tmp_path):
    frames, ids, n = make_sequence(2)
    frames = [f[i < n] for f, i in zip(frames, ids)]
    ids = [i[i < n] for i in ids]
    camera = sequence_camera(frames, ids, n, width=240, height=180)
    tracks = choose_tracks(frames, ids, n, camera, object_tracks=4, scene_tracks=2)
    assert tracks.moving.tolist() == [False, False]
    assert draw_sequence(frames, ids, n, tmp_path / "static.png", camera=camera).is_file()


def test_hero_is_small_enough_to_commit(tmp_path):
    frames, ids, n = make_sequence(2)
    scene, _ = merge_scene(frames, ids, n)
    features = np.random.default_rng(0).normal(size=(len(scene), 8)).astype(np.float32)
    path = draw_hero(frames, ids, n, scene, features, tmp_path / "hero.jpg")
    assert path.stat().st_size < 600_000
    with pytest.raises(ValueError, match="5 feature rows"):
        draw_hero(frames, ids, n, scene, features[:5], tmp_path / "other.jpg")
