"""Rooms: reproducible, furnished, labelled, scanned, and open enough to move something through."""

import time
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from fourdc_jax.data.procedural import rooms
from fourdc_jax.data.procedural.classes import CLASSES, IGNORE_LABEL
from fourdc_jax.data.procedural.programs import PROGRAMS
from fourdc_jax.data.procedural.solids import sample_surface
from fourdc_jax.data.procedural.walk import standing_places

SCANNED = range(6)  # seeds of the rooms that are scanned here


@lru_cache
def scan_of(seed):
    return rooms.make_room(seed)


@lru_cache
def furnished(seed):
    program = PROGRAMS[rooms.room_type(seed)]
    return rooms.furnish(program, np.random.default_rng(seed), rooms.PARAMS)


def test_same_seed_same_room():
    first, again = scan_of(0), rooms.make_room(0)
    for field in ("points", "colors", "labels", "instances", "boxes"):
        np.testing.assert_array_equal(getattr(first, field), getattr(again, field))
    assert first.name == again.name == "room_000000"
    assert len(first.points) != len(scan_of(1).points)


def test_dtypes_and_size():
    for seed in SCANNED:
        scan = scan_of(seed)
        count = len(scan.points)
        assert 50_000 < count < 170_000
        assert scan.points.dtype == np.float32
        assert scan.colors.dtype == np.uint8
        assert len(scan.colors) == len(scan.labels) == len(scan.instances) == count
        assert scan.label_set == "scannet20"


def test_num_points_keeps_a_subset():
    small = rooms.make_room(3, num_points=5000)
    assert small.points.shape == (5000, 3)
    whole = {tuple(p) for p in scan_of(3).points}
    assert all(tuple(p) in whole for p in small.points)


def test_negative_seed_is_named():
    with pytest.raises(ValueError, match="-3"):
        rooms.make_room(-3)


def test_impossible_parameters_are_named():
    params = replace(rooms.PARAMS, pieces=(60, 80), draws=2)
    with pytest.raises(ValueError, match="60 pieces"):
        rooms.make_room(0, params=params)


def test_every_block_of_seeds_holds_every_type():
    for block in range(5):
        types = [rooms.room_type(6 * block + i) for i in range(6)]
        assert sorted(types) == sorted(PROGRAMS)


def test_fifty_rooms_have_their_furniture():
    pieces, classes = [], set()
    for seed in range(50):
        layout, parts = furnished(seed)
        pieces.append(layout.num_pieces)
        names = {part.name for part in parts}
        assert {"wall", "floor", "door"} <= names, rooms.room_type(seed)
        classes |= names & set(CLASSES)
    assert min(pieces) >= 8
    assert max(pieces) <= 20
    assert np.mean(pieces) > 10
    assert len(classes) == len(CLASSES), set(CLASSES) - classes


def test_six_scanned_rooms_show_most_classes():
    seen = np.unique(np.concatenate([scan_of(s).labels for s in SCANNED]))
    assert len(seen[seen != IGNORE_LABEL]) >= 17


@pytest.mark.parametrize("seed", SCANNED)
def test_labels_instances_and_boxes_agree(seed):
    scan = scan_of(seed)
    assert np.isin(scan.labels, [*range(20), IGNORE_LABEL]).all()
    counts = np.bincount(scan.instances, minlength=len(scan.boxes) + 1)
    assert len(counts) == len(scan.boxes) + 1
    assert (counts[1:] >= rooms.PARAMS.min_points).all()
    of_instance = scan.instances > 0
    box = scan.boxes[scan.instances[of_instance] - 1]
    np.testing.assert_array_equal(scan.labels[of_instance], box[:, 6].astype(np.int32))
    outside = np.abs(scan.points[of_instance] - box[:, :3]) - box[:, 3:6] / 2
    assert (outside < 0.03).mean() > 0.99  # sensor noise and pose errors
    assert outside.max() < 0.25
    assert set(np.unique(scan.labels[~of_instance])) <= {0, 1, IGNORE_LABEL}


@pytest.mark.parametrize("seed", SCANNED)
def test_floor_and_extent(seed):
    scan = scan_of(seed)
    floor = scan.points[scan.labels == 1]
    assert abs(np.median(floor[:, 2])) < 0.05
    plane = np.column_stack([floor[:, :2], np.ones(len(floor))]).astype(np.float64)
    fit = np.linalg.lstsq(plane, floor[:, 2].astype(np.float64), rcond=None)[0]
    assert np.degrees(np.hypot(*fit[:2])) < 0.6
    spread = np.std(floor[:, 2] - plane @ fit)
    assert 0.002 < spread < 0.03
    extent = np.ptp(scan.points, axis=0)
    assert (extent[:2] > 2.5).all()
    assert (extent[:2] < 12).all()
    assert 1.8 < extent[2] < 3.3


def winding_number(points, mesh):
    """Signed crossings of an upward ray with a closed mesh: positive inside."""
    v = mesh.quads
    triangles = np.concatenate([v[:, [0, 1, 2]], v[:, [0, 2, 3]]])
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    flat = np.abs(normals[:, 2]) > 1e-12
    triangles, normals = triangles[flat], normals[flat]
    sign = np.sign(normals[:, 2])
    hit = np.ones((len(points), len(triangles)), bool)
    for i in range(3):
        edge = triangles[:, (i + 1) % 3, :2] - triangles[:, i, :2]
        shift = points[:, None, :2] - triangles[None, :, i, :2]
        hit &= (edge[:, 0] * shift[..., 1] - edge[:, 1] * shift[..., 0]) * sign >= 0
    shift = points[:, None, :2] - triangles[None, :, 0, :2]
    height = triangles[:, 0, 2] - (shift * normals[:, :2]).sum(-1) / normals[:, 2]
    return (hit * (height > points[:, 2:]) * sign).sum(1)


def is_deep_inside(points, mesh, tolerance):
    """Inside even after a step of `tolerance` along any axis (and off the mesh's own edges)."""
    inside = np.ones(len(points), bool)
    for step in tolerance * np.concatenate([np.eye(3), -np.eye(3)]):
        inside &= winding_number(points + step + [1.3e-4, 1.7e-4, 0], mesh) > 0
    return inside


@pytest.mark.parametrize("seed", range(12))
def test_furniture_does_not_interpenetrate(seed):
    placed = furnished(seed)[0].placed
    bounds = [f.bounds for f in placed]
    for i, one in enumerate(placed):
        points, _ = sample_surface(one.mesh, 400, np.random.default_rng(0))
        for j, other in enumerate(placed):
            near = ((points > bounds[j][0]) & (points < bounds[j][1])).all(1)
            if i != j and near.any():
                names = [[p.name for p in f.parts] for f in (one, other)]
                assert not is_deep_inside(points[near], other.mesh, 0.01).any(), names


def test_only_what_is_visible_is_scanned():
    """Nothing deep inside of wardrobes, files and refrigerators, none of the floor below them."""
    closed = [CLASSES.index(name) for name in ("cabinet", "refrigerator")]
    checked = 0
    for seed in SCANNED:
        scan = scan_of(seed)
        tall = np.isin(scan.boxes[:, 6], closed) & (scan.boxes[:, 5] > 1.1)
        for box in scan.boxes[tall]:
            inner = np.abs(scan.points - box[:3]) < box[3:6] / 2 - 0.15  # beyond the noise
            assert inner.all(1).sum() == 0, box
            below = inner[:, :2].all(1) & (scan.labels == CLASSES.index("floor"))
            assert below.sum() == 0, box
            front = np.abs(scan.points - box[:3]) < box[3:6] / 2 + 0.02
            assert front.all(1).sum() > 200, box  # its surface is there
            checked += 1
    assert checked >= 3


def test_camera_stands_on_free_floor():
    for seed in range(12):
        layout, _ = furnished(seed)
        spots = standing_places(layout, 9, np.random.default_rng(0))
        assert len(spots) == 9
        body = np.column_stack([spots, np.full((9, 2), 0.15), np.zeros((9, 2)), np.full(9, 1.9)])
        assert layout.fits(body, respect_zones=False).all()


def floor_clearance(scan):
    """Distance in metres of each valid cell of section 3.3 to the nearest invalid one."""
    voxel, floor = 0.1, np.median(scan.points[scan.labels == 1, 2])
    cells = np.floor((scan.points[:, :2] - scan.points[:, :2].min(0)) / voxel).astype(int) + 1
    layers = np.floor((scan.points[:, 2] - floor + 0.5 * voxel) / voxel).astype(int)
    shape = cells.max(0) + 2
    filled = np.unique(np.column_stack([cells, layers]), axis=0)
    accumulation, top = np.zeros(shape, int), np.full(shape, -np.inf)
    np.add.at(accumulation, (filled[:, 0], filled[:, 1]), 1)
    np.maximum.at(top, (cells[:, 0], cells[:, 1]), scan.points[:, 2])
    valid = (accumulation == 1) & (np.abs(top - floor) < 0.2)
    return distance_transform_edt(valid) * voxel


@pytest.mark.parametrize("seed", SCANNED)
def test_a_chair_can_move_through_the_room(seed):
    """Enough places for a bounding sphere of 55 cm, two of them a step of 30 to 90 cm apart."""
    places = np.argwhere(floor_clearance(scan_of(seed)) > 0.55 + 0.1) * 0.1
    assert len(places) >= 8
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1)
    assert ((distance >= 0.3) & (distance <= 0.9)).any()


def test_a_room_takes_less_than_three_seconds():
    start = time.process_time()
    rooms.make_room(12)
    rooms.make_room(13)
    assert (time.process_time() - start) / 2 < 3.0
