"""Prediction from a workdir: right checkpoint, whole scenes, tiles, rotations, bad input."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from fixtures.scenes import build_scene
from fixtures.segmentation_runs import NAMES, tiny_config, write_scenes

from fourdc_jax.data.scan import Scan
from fourdc_jax.data.scenes.from_config import open_data
from fourdc_jax.tasks.segmentation import task as segmentation
from fourdc_jax.tasks.segmentation.inference import Inference, load_predictor
from fourdc_jax.tasks.segmentation.scores import compare, evaluate_scenes, summarize
from fourdc_jax.tasks.shared.scenes import turn
from fourdc_jax.train import memory
from fourdc_jax.train.checkpoints import Checkpoints, load_variables
from fourdc_jax.train.loop import make_retention, train

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, compiled_once):
    """A short run with one checkpoint that is the best and one that is the last."""
    folder = tmp_path_factory.mktemp("run")
    scenes = write_scenes(folder / "train", (0, 1)), write_scenes(folder / "val", (2, 3))
    config = tiny_config(*scenes, **{"total_steps": 20, "eval.every": 20})
    workdir = folder / "workdir"
    workdir.mkdir()
    task = segmentation.create_task(config)
    state = train(task, config, workdir)
    with Checkpoints(workdir, make_retention(task, config), asynchronous=False) as checkpoints:
        checkpoints.save(21, state.replace(step=np.int32(21)), [0], {"val_miou": 0.01})
    return workdir, config


@pytest.fixture(scope="module")
def predictor(finished):
    return load_predictor(finished[0])


def test_the_best_and_the_last_checkpoint_are_told_apart(finished, predictor):
    workdir, _ = finished
    assert predictor.step == 20
    assert load_predictor(workdir, which="last").step == 21
    assert predictor.classes.names == NAMES


def test_points_have_the_probabilities_of_their_voxels(predictor):
    scan = build_scene(7, 2000)
    probabilities = predictor.predict(scan)
    assert probabilities.shape == (2000, 3)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    voxels = np.floor(scan.points.astype(np.float64) / 0.25)
    _, first, rows = np.unique(voxels, axis=0, return_index=True, return_inverse=True)
    np.testing.assert_array_equal(probabilities, probabilities[first][rows])
    np.testing.assert_array_equal(probabilities, predictor.predict(replace(scan, labels=None)))


def test_tiles_with_the_whole_margin_equal_the_whole_scene(finished, predictor):
    """Nothing but rounding differs, on a corridor longer than the receptive field."""
    corridor = build_scene(8, 30_000, size=(60.0, 3.0, 2.0))
    whole = predictor.predict(corridor)
    tiled = load_predictor(finished[0], max_rows=2500)
    assert np.unique(np.floor(corridor.points / 0.25), axis=0).shape[0] > 2500
    np.testing.assert_allclose(tiled.predict(corridor), whole, atol=2e-5)


def test_tiles_with_a_narrow_margin_are_close(finished, predictor):
    scan = build_scene(9, 8000)
    tiled = load_predictor(finished[0], max_rows=150).predict(scan)
    same = tiled.argmax(axis=1) == predictor.predict(scan).argmax(axis=1)
    assert not np.isnan(tiled).any()
    assert same.mean() > 0.6


def test_what_does_not_fit_into_memory_is_tiled(finished, predictor, monkeypatch, caplog):
    """As if memory were full when the first program is about to run: half of the rows are tried."""
    corridor = build_scene(8, 30_000, size=(60.0, 3.0, 2.0))
    whole = predictor.predict(corridor)
    small = load_predictor(finished[0])
    rooms = iter([100] + [10**12] * 100)  # bytes left when a program is about to run
    monkeypatch.setattr(memory, "free_bytes", lambda device: next(rooms))
    np.testing.assert_allclose(small.predict(corridor), whole, atol=2e-5)
    assert 2000 < small.inference.scenes.max_rows < 2500
    assert caplog.text.count("do not fit into memory") == 1
    monkeypatch.setattr(memory, "free_bytes", lambda device: 100)
    with pytest.raises(MemoryError, match="the program needs"):
        small.predict(corridor)


def test_rotations_average_turned_scans(finished, predictor):
    scan = build_scene(10, 2000)
    turned = predictor.predict(turn(scan, np.pi))
    expected = (predictor.predict(scan) + turned) / 2
    got = load_predictor(finished[0], rotations=2).predict(scan)
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_scores_of_voxels_and_points(predictor):
    scan = build_scene(12, 2000)
    scan = replace(scan, label_set="file")
    voxels = predictor.params.data.voxels
    perfect = np.eye(3, dtype=np.float32)[scan.labels]
    counts = compare(perfect, scan, voxels)
    assert counts.points.sum() == 2000
    assert np.trace(counts.points) == 2000
    assert 0 < counts.voxels.sum() < 2000  # some of their points disagree: left out
    assert np.trace(counts.voxels) == counts.voxels.sum()
    both = evaluate_scenes(lambda _: perfect, [scan, scan], voxels, 3)
    np.testing.assert_array_equal(both.points, 2 * counts.points)
    assert summarize(both) == dict.fromkeys(summarize(both), 1.0)


def test_evaluation_during_training_is_that_of_the_predictor(finished, predictor):
    workdir, config = finished
    task = segmentation.create_task(config)
    variables = jax.device_put(load_variables(workdir / "checkpoints" / "20"))
    during = task.evaluations[0].run(variables)
    opened = open_data(predictor.params.data, (), config.seed).validation
    scans = [opened[index] for index in range(len(opened))]
    after = evaluate_scenes(predictor.predict, scans, predictor.params.data.voxels, 3)
    assert during == summarize(after)


@pytest.mark.parametrize(
    ("points", "message"),
    [(np.zeros((0, 3)), "has no points"), (np.full((5, 3), np.nan), "5 of 5 points have coord")],
)
def test_scans_that_cannot_be_predicted_are_named(predictor, points, message):
    with pytest.raises(ValueError, match=f"scan 'mine'.*{message}"):
        predictor.predict(Scan("mine", points.astype(np.float32)))


def test_what_is_no_run_is_told(tmp_path, finished):
    with pytest.raises(FileNotFoundError, match=r"has no segmentation\.json: name the work"):
        load_predictor(tmp_path)
    inference = partial(Inference, load_predictor(finished[0]).params)
    with pytest.raises(ValueError, match="rotations is 0"):
        inference(load_predictor(finished[0]).inference.record, None, 0)
    with pytest.raises(ValueError, match="max_rows is 0"):
        inference(load_predictor(finished[0]).inference.record, 0, 1)
