"""Files that pictures are made of."""

import numpy as np
import pytest

from fourdc_jax.viz.pictures.saved import load_arrays, load_sequence


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_a_sequence_has_its_frames_in_order(tmp_path):
    frames = {f"points_{i}": np.full((2, 3), i) for i in range(3)}
    ids = {f"ids_{i}": np.arange(2) + i for i in range(3)}
    path = save(tmp_path / "s.npz", **frames, **ids, num_scene_points=1, scan="room", shape="bed")
    title, points, names, number = load_sequence(path)
    assert (title, number, len(points)) == ("room with bed", 1, 3)
    assert all((points[i] == i).all() for i in range(3))
    assert [list(array) for array in names] == [[0, 1], [1, 2], [2, 3]]


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04broken"])
def test_what_is_no_npz_is_told(tmp_path, content):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x.npz is no .npz file of arrays"):
        load_arrays(path, [])


def test_a_single_array_is_no_npz(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"x.npy is no .npz file of arrays"):
        load_arrays(tmp_path / "x.npy", [])


def test_missing_names_are_told(tmp_path):
    path = save(tmp_path / "s.npz", points_0=0, points_1=0, ids_0=0, num_scene_points=1)
    with pytest.raises(ValueError, match=r"s.npz lacks ids_1; it holds points_0, points_1"):
        load_sequence(path)
    with pytest.raises(ValueError, match=r"s.npz lacks features; it holds"):
        load_arrays(path, ["points_0", "features"])
