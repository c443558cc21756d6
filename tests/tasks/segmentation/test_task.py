"""Fine-tuning as a whole: it learns, transfers, freezes, resumes, and refuses what cannot work."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from fixtures.segmentation_runs import NAMES, tiny_config, write_scenes
from flax import traverse_util

from fourdc_jax.data.grids.grid import Grid
from fourdc_jax.tasks.segmentation import task as segmentation
from fourdc_jax.tasks.segmentation.inference import Inference
from fourdc_jax.tasks.segmentation.scores import METRICS
from fourdc_jax.tasks.shared.record import read_scene_record
from fourdc_jax.train.checkpoints import find_step, load_variables
from fourdc_jax.train.loop import train
from fourdc_jax.train.task import StepContext
from fourdc_jax.train.writers import read_history

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    return write_scenes(folder / "train", (0, 1)), write_scenes(folder / "val", (2, 3))


def run(config, workdir):
    workdir.mkdir(exist_ok=True)
    return jax.device_get(train(segmentation.create_task(config), config, workdir))


def flatten(variables):
    return traverse_util.flatten_dict(variables, sep="/")


@pytest.fixture(scope="module")
def finished(scenes, tmp_path_factory, compiled_once):
    """An uninterrupted run: (workdir, config, final state)."""
    workdir = tmp_path_factory.mktemp("finished")
    config = tiny_config(*scenes)
    return workdir, config, run(config, workdir)


def test_a_tiny_scene_is_learnt(finished):
    workdir, _, _ = finished
    history = read_history(workdir)
    steps = [line for line in history if "loss" in line]
    assert steps[0]["accuracy"] < 0.7
    assert np.mean([line["accuracy"] for line in steps[-5:]]) > 0.9
    measured = [line for line in history if "val_miou" in line]
    assert [line["step"] for line in measured] == [30, 60]
    assert set(measured[-1]) == {"step", *METRICS}
    assert measured[-1]["val_miou"] > 0.8
    assert measured[-1]["val_miou_points"] > 0.8


def test_a_run_leaves_pictures_scores_and_what_prediction_needs(finished, capsys):
    workdir, config, _ = finished
    train(segmentation.create_task(config), config, workdir)  # only reports again
    assert "validation, best (step " in capsys.readouterr().out
    assert (workdir / "report.html").is_file()
    assert {path.name for path in (workdir / "pictures").iterdir()} == {"curves.png", "scenes.png"}
    record = json.loads((workdir / "segmentation.json").read_text())
    assert tuple(record["classes"]["names"]) == NAMES


class Watched:
    """Batches that call a function with the number of each before it is made."""

    def __init__(self, batches, watch):
        self.batches, self.watch, self.count = batches, watch, 0

    def __next__(self):
        self.watch(self.count)
        self.count += 1
        return next(self.batches)

    def __getattr__(self, name):
        return getattr(self.batches, name)


def test_resuming_equals_never_having_stopped(finished, tmp_path):
    workdir, config, state = finished
    task = segmentation.create_task(config)

    class Crash(Exception):
        pass

    def crash(step):
        if step == 40:
            raise Crash

    def batches(position):
        return Watched(task.batches(position), crash)

    with pytest.raises(Crash):
        train(dataclasses.replace(task, batches=batches), config, tmp_path)
    assert find_step(tmp_path) == 30
    again = run(config, tmp_path)
    jax.tree.map(np.testing.assert_array_equal, again, state)
    histories = [
        [{k: v for k, v in line.items() if k != "samples_per_second"} for line in read_history(w)]
        for w in (tmp_path, workdir)
    ]
    assert histories[0] == histories[1]


def test_exactly_the_backbone_is_transferred_and_a_frozen_one_stays(finished, scenes, tmp_path):
    source, _, _ = finished
    changes = {"init.source": str(source), "model.freeze_backbone": True, "total_steps": 3}
    config = tiny_config(*scenes, **changes)
    state = run(config, tmp_path)
    loaded, after = flatten(load_variables(source)), flatten(state.variables)
    assert loaded.keys() == after.keys()
    for name, value in loaded.items():
        same = np.array_equal(value, after[name])
        assert same == ("/encoder_3d/" in f"/{name}"), name


def test_init_tells_what_was_loaded_skipped_and_new(finished, scenes, tmp_path, capsys):
    source, _, _ = finished
    config = tiny_config(*scenes, **{"init.source": str(source), "total_steps": 1})
    run(config, tmp_path)
    told = capsys.readouterr().err
    assert "loaded" in told
    assert "skipped 2 arrays: params/classifier (2)" in told
    assert "new 2 arrays: params/classifier (2)" in told


def test_two_devices_equal_one_on_the_same_scenes(scenes, tmp_path):
    """Loss, metrics and running statistics, with global batch norm; the other device idle."""
    assert jax.local_device_count() == 2
    task = segmentation.create_task(tiny_config(*scenes))
    batch = next(task.batches(None))
    micro = jax.tree.map(lambda a: a[:, 0], batch)
    variables = jax.jit(task.init)(jax.random.key(0), jax.tree.map(lambda a: a[0], micro))

    def means(part):
        output = task.loss(variables, part, StepContext(0, None, "device"))
        sums = jax.lax.psum(output.terms | output.metrics, "device")
        return {k: total / count for k, (total, count) in sums.items()}, output.collections

    compute = jax.pmap(means, axis_name="device", out_axes=None)
    values, stats = compute(micro)
    values_of_one, stats_of_one = compute(move_to_first(micro))
    for name, value in values.items():
        assert float(value) == pytest.approx(float(values_of_one[name]), abs=1e-5), name
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), stats, stats_of_one
    )


def move_to_first(micro):
    """The same scenes, all on device 0; nothing on device 1."""
    counts = micro.grid.num_rows
    total = counts.sum()
    assert total <= micro.grid.coords.shape[1]  # the capacity's margin has room for both
    moved = jax.tree.map(np.array, micro)
    coords, _, features, needed = moved.grid
    for own, given in (
        (coords, micro.grid.coords),
        (features, micro.grid.features),
        (moved.labels, micro.labels),
    ):
        own[0, counts[0] : total] = given[1, : counts[1]]
    coords[0, counts[0] : total, 0] += 1
    coords[1], features[1], moved.labels[1] = -(2**30), 0, 255
    grid = Grid(coords, np.array([total, 0], np.int32), features, needed)
    return moved._replace(grid=grid)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.freeze_backbone": True}, "without config.init that is random"),
        ({"model.network_3d.planes": (4, 4)}, "2 planes"),
        ({"eval.every": 0}, "config.eval.every is 0"),
        ({"data.classes.label_set": "scannet20"}, "labels of 'file'"),
        ({"data.voxels.voxel": 0.1, "data.voxels.features": "rgb"}, "'rgb' is none of"),
    ],
)
def test_impossible_configs_are_told_before_compilation(scenes, tmp_path, changes, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        segmentation.create_task(tiny_config(*scenes, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model.network_3d.planes": (8,) * 7 + (4,)},
            r"holds another network, planes \(8.*8\) there and \(8.*4\) here",
        ),
        ({"data.voxels.features": "color"}, "was trained on 1 input channels and"),
    ],
)
def test_another_network_is_told_before_compilation(finished, scenes, tmp_path, changes, message):
    config = tiny_config(*scenes, **{"init.source": str(finished[0]), **changes})
    task = segmentation.create_task(config)
    with pytest.raises(ValueError, match=message):
        train(dataclasses.replace(task, init=pytest.fail), config, tmp_path)


def test_a_run_that_goes_on_does_not_look_where_it_came_from(finished, scenes, tmp_path):
    source = shutil.copytree(finished[0], tmp_path / "source")
    config = tiny_config(*scenes, **{"init.source": str(source), "total_steps": 1})
    run(config, tmp_path / "run")
    shutil.rmtree(source)
    assert int(run(config, tmp_path / "run").step) == 1


def test_making_a_task_writes_nothing(scenes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in scenes[0].parent.rglob("*")}
    segmentation.create_task(tiny_config(*scenes))
    assert list(tmp_path.iterdir()) == []
    assert {path: path.stat().st_mtime_ns for path in scenes[0].parent.rglob("*")} == before


def test_scenes_without_labels_are_named(scenes, tmp_path):
    bare = write_scenes(tmp_path / "bare", (5,), labels=None)
    with pytest.raises(ValueError, match="'scene_5' has no labels"):
        segmentation.create_task(tiny_config(bare, scenes[1]))


def test_validation_without_any_class_is_told(scenes, tmp_path):
    ignored = write_scenes(tmp_path / "ignored", (6,), labels=np.full(3000, 255, np.int32))
    config = tiny_config(scenes[0], ignored, total_steps=1)
    with pytest.raises(ValueError, match="no voxel of the validation scenes has a class"):
        run(config, tmp_path / "run")


def test_every_validation_scene_is_looked_at_before_training(scenes, tmp_path):
    mixed = write_scenes(tmp_path / "mixed", (5,))
    write_scenes(mixed, (6,), labels=np.full(3000, 7, np.int32))
    with pytest.raises(ValueError, match="'scene_6' has the label 7: there are 3 classes"):
        segmentation.create_task(tiny_config(scenes[0], mixed))


def test_validation_scenes_of_other_classes_are_told(scenes, tmp_path):
    other = write_scenes(tmp_path / "train", (0,))
    (other / "classes.txt").write_text("a\nb\nc")
    with pytest.raises(ValueError, match="names other classes than"):
        segmentation.create_task(tiny_config(other, scenes[1]))


def test_a_workdir_keeps_the_classes_of_its_network(tmp_path):
    scenes = write_scenes(tmp_path / "train", (0,)), write_scenes(tmp_path / "val", (2,))
    config, workdir = tiny_config(*scenes, total_steps=1), tmp_path / "run"
    run(config, workdir)
    for folder in scenes:
        (folder / "classes.txt").write_text("a\nb\nc")
    with pytest.raises(ValueError, match=r"segmentation\.json differs: classes\.names \(was \['fl"):
        run(config, workdir)
    assert read_scene_record(workdir, "segmentation").classes.names == NAMES


def test_what_was_learnt_is_kept_where_validation_fails(scenes, tmp_path, monkeypatch):
    """Out of memory in tiny tiles: the run stops, and goes on from where it was."""

    def fail(*_):
        raise MemoryError("nothing left")

    config = tiny_config(*scenes, **{"total_steps": 4, "eval.every": 2, "checkpoint.every": 4})
    with monkeypatch.context() as patched:
        patched.setattr(Inference, "predict", fail)
        with pytest.raises(ValueError, match="validation failed: nothing left"):
            run(config, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["2"]
    assert int(run(config, tmp_path / "run").step) == 4
