"""Splits, samples and capacities from plain values, as a configuration gives them."""

import logging

import numpy as np
import pytest
from fixtures.networks import STRIDES
from fixtures.scenes import DATA, build_scene

from fourdc_jax.data.scenes.from_config import DataParams, choose_capacity, open_data
from fourdc_jax.params import read_params

VALUES = {
    **DATA,
    "train": {"scans": "", "split_file": "", "areas": (), "seed": 0},
    "validation": {"scans": "", "split_file": "", "areas": (), "seed": 1},
    "limited": {"percent": 100, "list_file": "", "seed": 0},
    "voxels": {"voxel": 0.1, "features": "color"},
    "capacity": {"num_samples": 4, "margin": 1.2, "multiple": 64, "rows": (), "growth": 1.5},
}


def read(**changes):
    values = {key: {**value} if isinstance(value, dict) else value for key, value in VALUES.items()}
    for path, value in changes.items():
        section, _, key = path.partition("__")
        if key:
            values[section][key] = value
        else:
            values[section] = value
    return read_params(DataParams, values, "config.data")


@pytest.fixture
def clouds(tmp_path):
    """Ten labelled clouds in folders for training and validation, one named as S3DIS' areas."""
    for index in range(10):
        folder = tmp_path / ("val" if index >= 7 else "train")
        folder.mkdir(exist_ok=True)
        scene = build_scene(index, 1200)
        path = folder / f"Area_{1 + index % 6}_office_{index}.npz"
        np.savez(path, points=scene.points, labels=scene.labels, colors=scene.colors)
    return {"train__scans": str(tmp_path / "train"), "validation__scans": str(tmp_path / "val")}


def test_both_splits_open_with_their_classes(clouds):
    data = open_data(read(**clouds), STRIDES, seed=5)
    assert (len(data.training), len(data.validation), len(data.classes)) == (7, 3, 3)
    assert data.training.seed == 5
    capacity = choose_capacity(read(**clouds).capacity, data.training, batch=3)
    maker = data.training.with_capacity(capacity)
    batch, reports = maker.join([maker.make_sample(0, index) for index in range(3)])
    assert batch.grid.features.shape == (capacity[0], 3)
    assert [report.kept for report in reports] == [1, 1, 1]
    assert set(batch.labels.tolist()) == {0, 1, 2, 255}


def test_limited_scenes_are_within_the_training_scenes(clouds, caplog):
    caplog.set_level(logging.INFO)
    few = open_data(read(**clouds, limited__percent=30), STRIDES, seed=0)
    assert len(few.training) == 2
    assert len(few.validation) == 3
    assert "2 of 7 scenes: a seeded subset of 30%" in caplog.text
    every = open_data(read(**clouds), STRIDES, seed=0)
    assert set(few.training.scans.names) < set(every.training.scans.names)


def test_splits_by_area_and_by_file(clouds, tmp_path):
    folder = str(tmp_path)
    areas = {"train__areas": (1, 2, 3, 4, 6), "validation__areas": (5,)}
    data = open_data(read(train__scans=folder, validation__scans=folder, **areas), STRIDES, 0)
    assert len(data.training) == 9
    assert data.validation.names == ["Area_5_office_4"]
    (tmp_path / "mine.txt").write_text("Area_2_office_1\n")
    only = {"train__split_file": str(tmp_path / "mine.txt"), "validation__areas": (5,)}
    data = open_data(read(train__scans=folder, validation__scans=folder, **only), STRIDES, 0)
    assert data.training.scans.names == ["Area_2_office_1"]


def test_procedural_splits_share_no_room():
    rooms = {"classes": {"label_set": "scannet20", "num_classes": 0}}
    rooms |= {"train__scans": "procedural:2", "validation__scans": "procedural:2"}
    data = open_data(read(**rooms), STRIDES, 0)
    assert not set(data.training.scans.names) & set(data.validation.names)
    assert len(data.classes) == 20
    with pytest.raises(ValueError, match="'room_000000': give the splits other lists, areas or"):
        open_data(read(**rooms, validation__seed=0), STRIDES, 0)


def test_scenes_with_labels_of_other_classes_are_told_when_opened(clouds):
    classes = {"label_set": "scannet20", "num_classes": 0}
    with pytest.raises(ValueError, match="labels of 'file'"):
        open_data(read(**clouds, classes=classes), STRIDES, 0)
    with pytest.raises(ValueError, match="the label 2: there are 2 classes"):
        open_data(read(**clouds, classes__num_classes=2), STRIDES, 0)


def test_given_rows_need_one_number_a_level(clouds):
    params = read(**clouds, capacity__rows=(512, 256, 128, 64, 64))
    maker = open_data(params, STRIDES, 0).training
    assert choose_capacity(params.capacity, maker, 2) == (512, 256, 128, 64, 64)
    with pytest.raises(ValueError, match="has 2 values; give 5"):
        choose_capacity(read(**clouds, capacity__rows=(512, 256)).capacity, maker, 2)
