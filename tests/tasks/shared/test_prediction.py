"""Scans named on a command line, and where their results go."""

from pathlib import Path

import numpy as np
import pytest
from fixtures.scenes import build_scene

from fourdc_jax.tasks.shared.prediction import choose_paths, open_inputs


def save_scan(path, seed=0, **changes):
    scene = build_scene(seed, 3000)
    np.savez(path, **{"points": scene.points, "colors": scene.colors, **changes})
    return path


def test_files_and_folders_are_opened_and_bad_ones_told(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for seed in range(2):
        save_scan(folder / f"room_{seed}.npz", seed)
    good = save_scan(tmp_path / "good.npz", 3)
    (tmp_path / "empty.ply").touch()
    specs = [str(path) for path in (folder, tmp_path / "empty.ply", good, tmp_path / "no")]
    inputs, failures = open_inputs(specs, scale=2.0)
    assert [scan.name for scan in inputs] == ["room_0", "room_1", "good"]
    np.testing.assert_array_equal(inputs[2].read().points, 2 * build_scene(3, 3000).points)
    assert len(failures) == 2
    assert "empty.ply is empty" in failures[0]
    assert failures[1].endswith("/no does not exist")


def test_a_damaged_scan_is_told_when_it_is_read(tmp_path):
    points = build_scene(2, 3000).points
    points[7] = np.nan
    (scan,), failures = open_inputs([str(save_scan(tmp_path / "x.npz", points=points))], scale=1.0)
    assert failures == []
    with pytest.raises(ValueError, match="1 of 3000 points have coordinates that are not finite"):
        scan.read()


def test_one_scan_is_a_file_and_several_are_a_folder():
    assert choose_paths(["a"], Path("x.ply")) == [Path("x.ply")]
    assert choose_paths(["a", "b"], Path("x")) == [Path("x/a.ply"), Path("x/b.ply")]
    with pytest.raises(ValueError, match=r"x.ply is one file for 2 scans: name a folder"):
        choose_paths(["a", "b"], Path("x.ply"))
    with pytest.raises(ValueError, match="several inputs have a scan 'a': predict them in turns"):
        choose_paths(["a", "b", "a"], Path("x"))
