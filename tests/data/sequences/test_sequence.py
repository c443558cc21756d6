import dataclasses

import numpy as np
import pytest
from fixtures.paths import REAL_DATA

from fourdc_jax.data.scan import Scan
from fourdc_jax.data.sequences.augmentation import NotEnoughPoints
from fourdc_jax.data.sequences.checks import check_sequence
from fourdc_jax.data.sequences.sequence import Sequence, make_sequence, prepare_scan, save_sequence
from fourdc_jax.data.sequences.trajectories import NoTrajectory
from fourdc_jax.data.shape import Shape

REAL = REAL_DATA


@pytest.fixture(scope="module")
def sequence(room, shapes, params):
    return make_sequence(room, shapes[0], 11, 0, params)


def stored(sequence, folder) -> dict[str, np.ndarray]:
    save_sequence(sequence, folder / "sequence.npz")
    with np.load(folder / "sequence.npz") as arrays:
        return dict(arrays)


def test_preparing_keeps_the_first_point_of_every_voxel(params):
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (30_000, 3)).astype(np.float32) * np.float32([1, 0.5, 0.1])
    prepared = prepare_scan(Scan("dense", points), params)
    first = {}
    for index, voxel in enumerate(map(tuple, np.floor(points.astype(np.float64) / 0.02).tolist())):
        first.setdefault(voxel, index)
    expected = points[[first[voxel] for voxel in sorted(first)]]
    np.testing.assert_array_equal(prepared.points, expected)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((0, 3)), "no points"),
        (np.array([[0, 0, np.nan], [1, 1, 1]]), "not finite"),
        (np.array([[0, 0, np.inf], [1, 1, 1]]), "not finite"),
        (np.array([[0, 0, 0], [4000, 1, 1]]), "in metres"),
    ],
)
def test_bad_scans_are_named(params, points, message):
    with pytest.raises(ValueError, match=f"'bad'.*{message}"):
        prepare_scan(Scan("bad", points.astype(np.float32)), params)


def test_all_constraints_hold_for_many_seeds_from_the_file_alone(rooms, shapes, params, tmp_path):
    made = 0
    scans = [prepare_scan(scan, params) for scan in rooms]
    for seed in range(30):
        found = make_sequence(scans[seed % 2], shapes[seed % 3], seed, seed % 4, params)
        assert isinstance(found, Sequence)
        assert check_sequence(stored(found, tmp_path), params) == []
        made += 1
    assert made == 30


def test_the_file_holds_what_it_should(sequence, params, tmp_path):
    arrays = stored(sequence, tmp_path)
    names = {f"{kind}_{frame}" for kind in ("points", "ids") for frame in range(4)}
    names |= {"num_scene_points", "num_object_points", "poses", "object_points"}
    assert set(arrays) == names | {"scan", "shape", "seed"}
    assert arrays["poses"].dtype == arrays["object_points"].dtype == np.float32
    assert int(arrays["num_object_points"]) == 1000
    assert (str(arrays["scan"]), str(arrays["shape"]), int(arrays["seed"])) == (
        *("room_0", "chair_0"),
        11,
    )


def turn(arrays, frame, degrees):
    angle = np.deg2rad(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    arrays["poses"][frame, :2, :2] = rotation @ arrays["poses"][frame, :2, :2]


def lift(arrays, frame, height):
    arrays["poses"][frame, 2, 3] += height


def shift(arrays, x):
    arrays["poses"][:, 0, 3] += x


def drop_ids(arrays, frame, share, of_object):
    ids = arrays[f"ids_{frame}"]
    thing = ids >= arrays["num_scene_points"]
    keep = (thing != of_object) | (np.random.default_rng(0).random(len(ids)) > share)
    arrays[f"ids_{frame}"], arrays[f"points_{frame}"] = ids[keep], arrays[f"points_{frame}"][keep]


def copy_frame(arrays):
    arrays["ids_2"], arrays["points_2"] = arrays["ids_0"], arrays["points_0"]


def move_scan_point(arrays):
    arrays["points_1"][0] += 0.01


def repeat_id(arrays):
    arrays["ids_3"][1] = arrays["ids_3"][0]


def long_step(arrays):
    arrays["poses"][2:, 0, 3] += 1.2


def scale_pose(arrays):
    arrays["poses"][1, :3, :3] *= 1.1


def tip_over(arrays):
    arrays["poses"][1, :3, :3] = np.float32([[1, 0, 0], [0, 0, -1], [0, 1, 0]])


def fewer_object_points(arrays):
    arrays["object_points"] = arrays["object_points"][:900]


def grow_object(arrays):
    arrays["object_points"] *= 5


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda a: turn(a, 2, 20), "direction of motion"),
        (lambda a: lift(a, 1, 0.5), "stands 0.5"),
        (lambda a: shift(a, 9.0), "leaves the scan"),
        (lambda a: shift(a, 1.7), "span"),
        (lambda a: drop_ids(a, 1, 0.8, True), "of the object is in all frames"),
        (lambda a: drop_ids(a, 1, 0.8, False), "of the scan is in all frames"),
        (lambda a: drop_ids(a, 3, 0.6, False), "a frame keeps"),
        (copy_frame, "same points"),
        (move_scan_point, "scan has moved"),
        (repeat_id, "repeated"),
        (long_step, "a step of"),
        (scale_pose, "not rigid"),
        (tip_over, "not upright"),
        (fewer_object_points, "900|object points"),
        (grow_object, "span"),
    ],
)
def test_the_check_finds_every_kind_of_damage(sequence, params, tmp_path, damage, complaint):
    import re

    arrays = stored(sequence, tmp_path)
    damage(arrays)
    problems = check_sequence(arrays, params)
    assert any(re.search(complaint, problem) for problem in problems), problems


def test_the_object_faces_its_motion_and_stands_on_the_floor(sequence, params):
    steps = np.diff(sequence.poses[:, :2, 3], axis=0)
    directions = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    front = sequence.poses[:, :2, 0]  # where +x of the object points
    np.testing.assert_allclose(front, [directions[0], *directions], atol=1e-5)
    for frame in range(4):
        points = sequence.object_in_frame(frame)
        assert points[:, 2].min() == pytest.approx(0.03, abs=0.03)


def test_frames_are_the_points_that_their_masks_keep(sequence):
    n = len(sequence.scene_points)
    for frame in range(4):
        points, ids = sequence.frame(frame)
        expected = np.concatenate([sequence.scene_presence[frame], sequence.object_presence[frame]])
        np.testing.assert_array_equal(np.flatnonzero(expected), ids)
        everything = np.concatenate([sequence.scene_points, sequence.object_in_frame(frame)])
        np.testing.assert_array_equal(points, everything[ids])
        assert (ids >= n).sum() > 700


def test_the_seed_fixes_the_trajectory_and_the_epoch_varies_the_points(room, shapes, params):
    first, again, later = (make_sequence(room, shapes[0], 5, epoch, params) for epoch in (0, 0, 1))
    for field in dataclasses.fields(Sequence):
        if field.name not in ("scene_presence", "object_presence", "discarded"):
            np.testing.assert_array_equal(getattr(first, field.name), getattr(later, field.name))
        np.testing.assert_array_equal(getattr(first, field.name), getattr(again, field.name))
    assert not np.array_equal(first.scene_presence, later.scene_presence)
    other = make_sequence(room, shapes[0], 6, 0, params)
    assert not np.array_equal(first.poses, other.poses)


def test_a_static_scene_has_frames_without_an_object(room, params, tmp_path):
    static = dataclasses.replace(params, with_object=False)
    found = make_sequence(room, None, 0, 0, static)
    assert found.object_points.shape == (0, 3)
    np.testing.assert_array_equal(found.poses, np.tile(np.eye(4), (4, 1, 1)))
    assert not np.array_equal(found.scene_presence[0], found.scene_presence[1])
    assert check_sequence(stored(found, tmp_path), static) == []


def test_what_is_not_possible_comes_back_as_a_reason(rooms, room, shapes, params):
    small = prepare_scan(rooms[2], params)
    assert isinstance(make_sequence(small, shapes[0], 0, 0, params), NoTrajectory)
    strict = dataclasses.replace(params.presence, min_frame=1.0, max_draws=3)
    strict = dataclasses.replace(params, presence=strict)
    assert isinstance(make_sequence(room, shapes[0], 0, 0, strict), NotEnoughPoints)


def test_a_shape_of_too_few_points_is_named(room, params):
    few = Shape("few", "chair", np.random.default_rng(0).random((999, 3), np.float32))
    with pytest.raises(ValueError, match="'few' has 999 points, fewer than the 1000"):
        make_sequence(room, few, 0, 0, params)


@pytest.mark.skipif(not REAL.is_dir(), reason="no real scans beside the repository")
def test_all_constraints_hold_on_a_real_scan(shapes, params, tmp_path):
    file = REAL / "scenes/scene0000_01/scene0000_01_vert_all.npy"
    scan = prepare_scan(Scan("scene0000_01", np.load(file)[:, :3].copy()), params)
    for seed in range(12):
        found = make_sequence(scan, shapes[seed % 3], seed, 0, params)
        assert isinstance(found, Sequence)
        assert check_sequence(stored(found, tmp_path), params) == []
