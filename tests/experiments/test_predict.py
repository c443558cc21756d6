"""Scans in, labelled clouds and pictures out."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from fixtures.commands import run_here
from fixtures.scenes import build_scene

from fourdc_jax.data.label_sets import SCANNET20
from fourdc_jax.tasks.segmentation import inference


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """A run of a network for which all is wall; the options it is loaded with are checked."""

    def load(workdir, **options):
        assert (workdir.name, options["which"], options["rotations"]) == ("run", "best", 1)
        return SimpleNamespace(classes=SCANNET20, predict=lambda scan: walls(len(scan.points)))

    monkeypatch.setattr(inference, "load_predictor", load)
    (tmp_path / "run").mkdir()
    config = {"task": "segmentation", "init": {"source": ""}}
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    return tmp_path / "run"


def walls(count):
    return np.eye(20, dtype=np.float32)[np.zeros(count, int)]


def save_scan(path, **changes):
    scene = build_scene(0, 3000)
    np.savez(path, **{"points": scene.points, "colors": scene.colors, **changes})
    return path


def run(workdir, *flags):
    return run_here("predict", f"--checkpoint={workdir}", "--compilation-cache=", *flags)


def test_scans_become_clouds_and_pictures_and_bad_ones_are_told(workdir, tmp_path):
    points = build_scene(2, 3000).points
    points[7] = np.nan
    broken, good = save_scan(tmp_path / "broken.npz", points=points), tmp_path / "good.npz"
    out = tmp_path / "out"
    inputs = ["--input", broken, save_scan(good), tmp_path / "no"]
    done = run(workdir, *inputs, f"--out={out}", "--task=segmentation")
    assert done.code == 1
    assert sorted(path.name for path in out.iterdir()) == ["good.ply", "good.png"]
    assert done.out.startswith(f"{out / 'good.ply'}: 3,000 points in ")
    assert done.out.endswith(" s: wall 100%\n")
    first, second = done.err.splitlines()
    assert first == f"error: scans: {tmp_path / 'no'} does not exist"
    assert second.startswith("error: broken: ")
    assert "1 of 3000 points have coordinates that are not finite" in second


def test_a_single_scan_becomes_the_file_that_is_named(workdir, tmp_path):
    done = run(workdir, "--input", save_scan(tmp_path / "a.npz"), f"--out={tmp_path / 'x.ply'}")
    assert done.code == 0, done.err
    assert (tmp_path / "x.ply").is_file()


@pytest.mark.parametrize(
    ("config", "flags", "sentence"),
    [
        ({"task": "segmentation"}, ["--task=detection"], "of the task 'segmentation', not of 'det"),
        ({"task": "pretrain"}, [], "is a run of 'pretrain', a task that predicts nothing"),
        ({"model": {}}, [], "is no run: its config.json names no task"),
        ({"task": "segmentation"}, [], "has no segmentation.json: name the workdir of a run of"),
        (None, [], "holds no config.json; name the workdir of a run"),
    ],
)
def test_what_is_no_segmenter_is_one_sentence(config, flags, sentence, tmp_path):
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    scan = save_scan(tmp_path / "a.npz")
    done = run(tmp_path, "--input", scan, f"--out={tmp_path / 'x.ply'}", *flags)
    assert done.code == 1
    assert sentence in done.err
    assert done.err.count("\n") == 1
