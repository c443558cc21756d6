"""Runs side by side: tables, stored results and pictures, with predictors that need no network."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fixtures.commands import run_here
from fixtures.scenes import DATA, build_scene

from fourdc_jax.data.label_sets import LabelSet
from fourdc_jax.evaluation.segmentation import scores
from fourdc_jax.results.runs import Run
from fourdc_jax.results.tables import Group, format_classes, format_methods, format_spread
from fourdc_jax.tasks.segmentation import inference
from fourdc_jax.tasks.segmentation.inference import Record
from fourdc_jax.train.checkpoints import Checkpoints, Retention
from fourdc_jax.train.state import TrainState

CLASSES = LabelSet(("wall", "side", "floor"), ((9, 9, 200), (200, 9, 9), (9, 200, 9)))


def make_config(folder, percent=100.0, init="", seed=0):
    split = {"split_file": "", "areas": (), "seed": 0}
    return {
        "seed": seed,
        "init": init,
        "log": {"every": 20 + seed},
        "optimizer": {"learning_rate": 0.8},
        "data": {
            **DATA,
            "train": {"scans": str(folder / "train"), **split},
            "validation": {"scans": str(folder / "val"), **split},
            "limited": {"percent": percent, "list_file": "", "seed": seed},
            "voxels": {"voxel": 0.1, "strides": (2, 4, 8, 16), "features": "constant"},
            "capacity": {"num_samples": 1, "margin": 1, "multiple": 8, "rows": (), "growth": 2.0},
        },
    }


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A workdir with a checkpoint, step 7."""
    folder = tmp_path_factory.mktemp("checkpoint")
    state = TrainState(step=np.int32(7), params={"a": np.ones(2)}, batch_stats={}, opt_state={})
    with Checkpoints(folder, Retention(1, 0, ""), asynchronous=False) as checkpoints:
        checkpoints.save(7, state, [], {})
    return folder


@pytest.fixture
def make_run(tmp_path, checkpoint):
    """Makes workdirs of runs that share two validation scenes."""
    (tmp_path / "val").mkdir()
    for seed in range(2):
        scene = build_scene(seed, 2000)
        path = tmp_path / "val" / f"scene_{seed}.npz"
        np.savez(path, points=scene.points, labels=scene.labels)

    def make(name, classes=CLASSES, **changes):
        workdir = tmp_path / name
        shutil.copytree(checkpoint, workdir)
        (workdir / "config.json").write_text(json.dumps(make_config(tmp_path, **changes)))
        Record("file", classes, (8,) * 5).write(workdir)
        return workdir

    return make


@pytest.fixture
def loaded(monkeypatch):
    """Names of the workdirs whose predictor was loaded; a workdir's last digits are its errors.

    The predictor of "x_30" gives class 0 to the first 30% of the points and is right elsewhere.
    """
    names = []

    def load(workdir, **options):
        names.append(workdir.name)
        wrong = int(workdir.name.split("_")[-1]) / 100

        def predict(scan):
            classes = build_scene(int(scan.name[-1]), 2000).labels
            classes = np.where(np.arange(len(classes)) < wrong * len(classes), 0, classes)
            return np.eye(3, dtype=np.float32)[classes]

        return SimpleNamespace(predict=predict)

    monkeypatch.setattr(inference, "load_predictor", load)
    return names


def run(workdirs, *arguments):
    return run_here("evaluate", "--workdirs", *workdirs, "--which=last", *arguments)


def test_runs_are_compared_and_results_stored(make_run, loaded, tmp_path):
    runs = [make_run("a_30"), make_run("b_0", init="elsewhere")]
    done = run(runs, f"--out={tmp_path / 'out'}", "--scenes=1")
    assert done.code == 0, done.err
    printed = done.out
    results = [json.loads((path / "results.json").read_text()) for path in runs]
    labels = np.stack([build_scene(seed, 2000).labels for seed in range(2)])
    predictions = np.where(np.arange(2000) < 600, 0, labels)
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (labels.ravel(), predictions.ravel()), 1)
    assert results[0]["points"]["confusion"] == expected.tolist()
    assert results[0]["points"]["miou"] == pytest.approx(scores(expected)["miou"])
    assert results[0]["of"]["step"] == 7
    assert results[1]["points"]["iou"] == [1, 1, 1]
    assert results[1]["voxels"]["miou"] == 1
    miou, macc = (results[0]["voxels"][score] for score in ("miou", "macc"))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines()]
    first = next(row for row in rows if row and row[0] == "scratch")
    assert first[:5] == ["scratch", "100%", "1", f"{100 * miou:.1f}", f"{100 * macc:.1f}"]
    second = next(row for row in rows if row and row[0] == "pre-trained")
    assert second[3] == f"100.0 ({100 * (1 - miou):+.1f})"
    assert (tmp_path / "out" / "tables.md").read_text() in printed
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("tables.md", "report.html", "scenes.png"),
        *("confusion_scratch.png", "confusion_pre_trained.png"),
    }


def test_stored_results_are_read_until_the_checkpoint_or_the_options_change(make_run, loaded):
    workdir = make_run("a_10")
    quiet = "--scenes=0"
    assert run([workdir], quiet).code == 0
    assert run([workdir], quiet).code == 0
    assert loaded == ["a_10"]
    assert run([workdir], quiet, "--again").code == 0
    assert run([workdir], quiet, "--rotations=2").code == 0
    assert loaded == ["a_10"] * 3
    copy = shutil.copytree(workdir / "checkpoints" / "7", workdir / "checkpoints" / "9")
    assert copy.is_dir()
    assert run([workdir], quiet, "--rotations=2").code == 0
    assert loaded == ["a_10"] * 4
    assert json.loads((workdir / "results.json").read_text())["of"]["step"] == 9


def test_seeds_are_one_line_and_limited_labels_a_curve(make_run, loaded, tmp_path):
    runs = [
        *(make_run(f"s{seed}_{10 + seed}", percent=10.0, seed=seed) for seed in range(2)),
        make_run("f_5"),
    ]
    done = run(runs, f"--out={tmp_path / 'out'}", "--scenes=1")
    assert done.code == 0, done.err
    stored = [json.loads((path / "results.json").read_text()) for path in runs]
    values = np.array([result["voxels"]["miou"] for result in stored])
    line = f"{100 * values[:2].mean():.1f} ± {100 * values[:2].std(ddof=1):.1f}"
    printed = done.out
    assert line in printed
    assert "scratch 10%" in printed
    assert (tmp_path / "out" / "label_efficiency.png").is_file()
    assert loaded == ["s0_10", "s1_11", "f_5"]


def test_absent_classes_and_single_runs_have_no_spread():
    assert format_spread(np.array([np.nan])) == "-"
    assert format_spread(np.array([0.5])) == "50.0"
    assert format_spread(np.array([0.5, np.nan, 0.7])) == "60.0 ± 14.1"
    level = {"miou": 0.5, "macc": 0.6, "iou": [0.5, None]}
    run = Run("a", Path("a"), make_config(Path("x")), Record("file", CLASSES, (8,) * 5))
    group = Group("a", 100.0, (run,), ({"voxels": level, "points": level},))
    assert "| picture |    - |" in format_classes([group], ["wall", "picture"])
    assert "| a      |   100% |    1 | 50.0 | 60.0 |" in format_methods([group])


def test_what_does_not_compare_is_one_clear_sentence(make_run, loaded, tmp_path):
    first = make_run("a_0")
    faster = make_run("b_0")
    values = json.loads((faster / "config.json").read_text())
    values["optimizer"]["learning_rate"] = 0.1
    (faster / "config.json").write_text(json.dumps(values))
    other = make_run("c_0", classes=LabelSet(("x", "y", "z"), CLASSES.colors))
    moved = make_run("d_0")
    values["data"]["validation"]["scans"] = str(tmp_path / "val" / "scene_0.npz")
    (moved / "config.json").write_text(json.dumps(values))
    (tmp_path / "pretrained").mkdir()
    for arguments, message in [
        ([first, faster], "differ in optimizer.learning_rate: they are no seeds of one method"),
        ([first, first], "a workdir is named twice"),
        ([first, other], "c_0 has other classes than"),
        ([first, moved, "--names", "a", "b"], "d_0 has other validation scenes than"),
        ([first, "--names", "a", "b"], "2 --names for 1 --workdirs"),
        ([first, tmp_path / "pretrained"], "pretrained has no segmentation.json"),
    ]:
        done = run(arguments)
        assert done.code == 1
        assert message in done.err
        assert done.err.count("\n") == 1
    assert loaded == []


def test_runs_from_different_pretrainings_are_no_seeds_of_one_method(make_run):
    runs = [make_run("a_30", init="theirs"), make_run("b_0", init="ours", seed=1)]
    done = run(runs)
    assert done.code == 1
    assert "differ in init: they are no seeds of one method" in done.err
