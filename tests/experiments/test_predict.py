"""Scans in, labelled clouds and pictures out."""

from types import SimpleNamespace

import numpy as np
import pytest
from fixtures.commands import run_here
from fixtures.scenes import build_scene
from matplotlib import image
from plyfile import PlyData

from fourdc_jax.data.label_sets import SCANNET20
from fourdc_jax.tasks.segmentation import inference


def predict_surface(scan):
    """Class 1 (floor) within 5 cm of the lowest point, 0 (wall) elsewhere; 80% sure."""
    low = (scan.points[:, 2] < scan.points[:, 2].min() + 0.05).astype(int)
    return np.where(np.arange(20) == low[:, None], 0.8, 0.2 / 19).astype(np.float32)


@pytest.fixture
def asked(monkeypatch):
    """What `load_predictor` was called with; it gives a predictor of floors."""
    calls = []

    def load(workdir, **options):
        calls.append((workdir.name, options))
        return SimpleNamespace(classes=SCANNET20, predict=predict_surface)

    monkeypatch.setattr(inference, "load_predictor", load)
    return calls


def save_scan(path, seed=0, **changes):
    scene = build_scene(seed, 3000)
    np.savez(path, **{"points": scene.points, "colors": scene.colors, **changes})
    return path


def run(*arguments, out, checkpoint="run"):
    flags = ["--task=segmentation", f"--checkpoint={checkpoint}", f"--out={out}", "--input"]
    return run_here("predict", *flags, *arguments)


def test_a_scan_becomes_a_labelled_cloud_and_a_picture(asked, tmp_path):
    scan = save_scan(tmp_path / "room.npz")
    out = tmp_path / "new" / "labelled.ply"
    done = run(scan, out=out)
    assert done.code == 0, done.err
    assert asked == [("run", {"which": "best", "max_rows": None, "rotations": 1})]
    vertex = PlyData.read(str(out))["vertex"]
    points = np.load(scan)["points"]
    np.testing.assert_array_equal(np.stack([vertex[a] for a in "xyz"], axis=1), points)
    floor = points[:, 2] < points[:, 2].min() + 0.05
    np.testing.assert_array_equal(vertex["label"], floor)
    np.testing.assert_allclose(vertex["confidence"], 0.8)
    colors = np.stack([vertex[c] for c in ("red", "green", "blue")], axis=1)
    np.testing.assert_array_equal(colors, np.array(SCANNET20.colors, np.uint8)[floor.astype(int)])
    assert image.imread(out.with_suffix(".png")).shape[1] > 1000
    printed = done.out
    assert f"{out}: 3,000 points in" in printed
    assert f"wall {1 - floor.mean():.0%}, floor {floor.mean():.0%}" in printed


def test_several_inputs_go_into_a_folder_and_bad_ones_are_told(asked, tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for seed in range(2):
        save_scan(folder / f"room_{seed}.npz", seed)
    points = build_scene(2, 3000).points
    points[7] = np.nan
    save_scan(tmp_path / "broken.npz", points=points)
    (tmp_path / "empty.ply").touch()
    save_scan(tmp_path / "good.npz", 3)
    inputs = [folder, *(tmp_path / name for name in ("broken.npz", "empty.ply", "good.npz", "no"))]
    done = run(*inputs, out=tmp_path / "out")
    assert done.code == 1
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [f"{n}.{s}" for n in ("good", "room_0", "room_1") for s in ("ply", "png")]
    errors = done.err.splitlines()
    assert len(errors) == 3
    assert "empty.ply is empty" in errors[0]
    assert errors[1].endswith("/no does not exist")
    assert "broken.npz: 1 of 3000 points have coordinates that are not finite" in errors[2]


def test_a_file_for_several_scans_and_scans_of_one_name_are_refused(asked, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_scan(tmp_path / name / "scan.npz")
    folders = [tmp_path / "a", tmp_path / "b"]
    done = run(*folders, out=tmp_path / "x.ply")
    assert done.code == 1
    assert "is one file for 2 scans: name a folder" in done.err
    done = run(*folders, out=tmp_path / "x")
    assert done.code == 1
    assert "several inputs have a scan 'scan'" in done.err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("content", [None, '{"sequence": {}}'])
def test_what_is_no_segmenter_is_one_clear_sentence(content, tmp_path):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    scan = save_scan(tmp_path / "room.npz")
    done = run(scan, out=tmp_path / "x.ply", checkpoint=tmp_path)
    assert done.code == 1
    assert done.err.startswith(f"error: {tmp_path} has no segmentation.json: name the workdir")
    assert done.err.count("\n") == 1
