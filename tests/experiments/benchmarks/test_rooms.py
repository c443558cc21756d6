"""The benchmarks' voxels."""

import numpy as np
import pytest
from benchmarks.rooms import level_capacities, room_voxels, sequence_voxels


def test_rooms_are_unique_voxels_and_follow_each_other():
    coords = np.asarray(room_voxels(3000, 0.05, rows_of_room=2000))
    assert coords.shape == (3000, 4)
    assert np.bincount(coords[:, 0]).tolist() == [2000, 1000]
    assert (np.unique(coords, axis=0) == coords).all()


def test_a_voxel_of_two_centimetres_has_about_eight_neighbours():
    cells = np.asarray(room_voxels(20_000, 0.02))[:, 1:]
    occupied = {tuple(cell) for cell in cells.tolist()}
    offsets = np.indices((3, 3, 3)).reshape(3, -1).T - 1
    pairs = sum(tuple(cell) in occupied for o in offsets for cell in (cells + o).tolist())
    assert 6.5 < pairs / len(cells) < 9.5


def test_sequences_show_the_same_voxels_in_every_frame():
    coords = np.asarray(sequence_voxels(4000, 0.05))
    assert np.bincount(coords[:, 4]).tolist() == [1000] * 4
    assert (np.unique(coords, axis=0) == coords).all()
    with pytest.raises(ValueError, match="3 rows"):
        sequence_voxels(3, 0.05)


def test_capacities_hold_every_level():
    coords = room_voxels(1000, 0.05)
    cells = np.asarray(coords)
    rows = [len(np.unique(cells // [1, s, s, s], axis=0)) for s in (1, 2, 4, 8, 16)]
    assert level_capacities(coords) == [1000, *(-(-count // 128) * 128 for count in rows[1:])]
