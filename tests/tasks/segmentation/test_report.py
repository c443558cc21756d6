"""Runs side by side, and predicted scans, with predictions that need no network."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from fixtures.finished_runs import CLASSES, RunMaker, predict_with_errors, write_checkpoint
from fixtures.scenes import build_scene
from matplotlib import image
from plyfile import PlyData

from fourdc_jax.data.label_sets import SCANNET20, LabelSet
from fourdc_jax.evaluation.segmentation import scores
from fourdc_jax.results.runs import Evaluated, read_runs
from fourdc_jax.results.tables import group_runs
from fourdc_jax.tasks.segmentation import report
from fourdc_jax.tasks.segmentation.report import compare_runs, format_tables, write_prediction
from fourdc_jax.tasks.segmentation.scores import open_shared_validation

LAST = Evaluated(which="last")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def make_run(tmp_path, checkpoint):
    return RunMaker(tmp_path, checkpoint)


@pytest.fixture
def loaded(monkeypatch):
    """Names of the workdirs whose predictor was loaded, see `predict_with_errors`."""
    names = []

    def load(workdir, **options):
        names.append(workdir.name)
        return SimpleNamespace(predict=predict_with_errors(workdir))

    monkeypatch.setattr(report, "load_predictor", load)
    return names


def compare(workdirs, out, names=None, how=LAST, num_drawn=0):
    return compare_runs(read_runs(workdirs, names), out, how, num_drawn=num_drawn, again=False)


def rows_of(table):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]


def test_runs_are_compared_and_results_stored(make_run, loaded, tmp_path):
    workdirs = [make_run("a_30"), make_run("b_0", init="elsewhere")]
    found = compare(workdirs, tmp_path / "out", num_drawn=1)
    results = [json.loads((path / "results.json").read_text()) for path in workdirs]
    labels = np.stack([build_scene(seed, 2000).labels for seed in range(2)])
    predictions = np.where(np.arange(2000) < 600, 0, labels)
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (labels.ravel(), predictions.ravel()), 1)
    assert results[0]["points"]["confusion"] == expected.tolist()
    assert results[0]["points"]["miou"] == pytest.approx(scores(expected)["miou"])
    assert results[0]["classes"] == list(CLASSES.names)
    assert results[1]["points"]["iou"] == [1, 1, 1]
    assert results[1]["voxels"]["miou"] == 1
    miou, macc = (results[0]["voxels"][score] for score in ("miou", "macc"))
    assert found.summary == {
        "mIoU (%), scratch": pytest.approx(100 * miou), "mIoU (%), pre-trained": 100,
    }  # fmt: skip
    first, second = rows_of(found.tables)[2:4]
    assert first[:5] == ["scratch", "100%", "1", f"{100 * miou:.1f}", f"{100 * macc:.1f}"]
    assert second[0] == "pre-trained"
    assert second[3] == f"100.0 ({100 * (1 - miou):+.1f})"
    assert {picture.path.name for picture in found.pictures} == {
        *("scenes.png", "confusion_scratch.png", "confusion_pre_trained.png")
    }
    assert all(picture.path.is_file() for picture in found.pictures)
    assert loaded == ["a_30", "b_0"]


def test_stored_results_need_no_network_unless_scenes_are_drawn(make_run, loaded, tmp_path):
    workdir = make_run("a_10")
    compare([workdir], tmp_path)
    compare([workdir], tmp_path)
    assert loaded == ["a_10"]
    compare([workdir], tmp_path, how=Evaluated("last", rotations=2))
    compare([workdir], tmp_path, how=Evaluated("last", rotations=2), num_drawn=1)
    assert loaded == ["a_10"] * 3


def test_the_papers_numbers_stand_beside_runs_on_its_scenes(make_run):
    (run,) = read_runs([make_run("a_0")], None)
    level = {"miou": 0.7, "macc": 0.8, "iou": [0.7] * 3}
    groups = group_runs([run], [{"voxels": level, "points": level}])
    scannet = [f"scene{number:04d}_00" for number in range(312)]
    rows = rows_of(format_tables(groups, CLASSES, scannet).split("\n\n")[0])
    assert rows[-1] == ["the paper's Table 3: Ours", "100%", "-", "72.3", "80.8", "-", "-"]
    assert len(rows) == 2 + 1 + 4
    assert "paper" not in format_tables(groups, CLASSES, ["room_000000"])


def test_seeds_are_one_line_and_limited_labels_a_curve(make_run, loaded, tmp_path):
    runs = [make_run(f"s{seed}_{10 + seed}", percent=10.0, seed=seed) for seed in range(2)]
    found = compare([*runs, make_run("f_5")], tmp_path / "out", num_drawn=1)
    stored = [json.loads((path / "results.json").read_text()) for path in runs]
    values = np.array([result["voxels"]["miou"] for result in stored])
    line = f"{100 * values.mean():.1f} ± {100 * values.std(ddof=1):.1f}"
    assert line in found.tables
    assert list(found.summary) == ["mIoU (%), scratch 10%", "mIoU (%), scratch 100%"]
    assert (tmp_path / "out" / "label_efficiency.png").is_file()
    assert loaded == ["s0_10", "s1_11", "f_5"]


def test_runs_of_other_classes_or_scenes_do_not_compare(make_run, tmp_path):
    first = make_run("a_0")
    other = make_run("c_0", classes=LabelSet(("x", "y", "z"), CLASSES.colors))
    moved = make_run("d_0")
    config = json.loads((moved / "config.json").read_text())
    config["data"]["validation"]["scans"] = str(tmp_path / "val" / "scene_0.npz")
    (moved / "config.json").write_text(json.dumps(config))
    bare = make_run("e_0")
    (bare / "segmentation.json").unlink()
    for workdir, error, sentence in [
        (other, ValueError, "c_0 has other classes than"),
        (moved, ValueError, "d_0 has other validation scenes than"),
        (bare, FileNotFoundError, "e_0 has no segmentation.json"),
    ]:
        with pytest.raises(error, match=sentence):
            open_shared_validation(read_runs([first, workdir], ["a", "b"]))


def test_a_prediction_is_a_cloud_and_a_picture(tmp_path):
    scan = build_scene(0, 3000)
    low = (scan.points[:, 2] < scan.points[:, 2].min() + 0.05).astype(int)
    probabilities = np.where(np.arange(20) == low[:, None], 0.8, 0.2 / 19).astype(np.float32)
    out = tmp_path / "new" / "labelled.ply"
    found = write_prediction(scan, probabilities, SCANNET20, out)
    vertex = PlyData.read(str(out))["vertex"]
    np.testing.assert_array_equal(np.stack([vertex[a] for a in "xyz"], axis=1), scan.points)
    np.testing.assert_array_equal(vertex["label"], low)
    np.testing.assert_allclose(vertex["confidence"], 0.8)
    colors = np.stack([vertex[c] for c in ("red", "green", "blue")], axis=1)
    np.testing.assert_array_equal(colors, np.array(SCANNET20.colors, np.uint8)[low])
    assert image.imread(out.with_suffix(".png")).shape[1] > 1000
    assert found == f"wall {1 - low.mean():.0%}, floor {low.mean():.0%}"
