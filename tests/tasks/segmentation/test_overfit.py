"""The overfit check on a real scan: one ScanNet room is learnt nearly without error."""

import pytest
from fixtures.paths import REAL_DATA
from fixtures.scenes import IDENTITY
from fourdc_jax.configs.segmentation import get_config

from fourdc_jax.data.scenes.from_config import open_split
from fourdc_jax.data.sources.labelled import LabelledScans
from fourdc_jax.tasks.segmentation import task as segmentation
from fourdc_jax.tasks.segmentation.inference import load_predictor
from fourdc_jax.tasks.segmentation.scores import evaluate_scenes, summarize
from fourdc_jax.train.loop import train

REAL = REAL_DATA / "scenes"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not REAL.is_dir(), reason="no real scans beside the repository")
def test_one_real_room_is_learnt(tmp_path):
    """Over 90% mIoU on the training scene itself; validation is another scan of that room."""
    config = get_config("demo").unlock()
    config.total_steps, config.batch_size = 200, 2
    config.eval.every = config.checkpoint.every = 200
    config.data.voxels.voxel = 0.05
    config.data.augmentation.update(IDENTITY)
    for split, name in (
        (config.data.train, "scene0000_00"),
        (config.data.validation, "scene0000_01"),
    ):
        (tmp_path / f"{name}.txt").write_text(name)
        split.scans, split.split_file = str(REAL), str(tmp_path / f"{name}.txt")
    workdir = tmp_path / "run"
    workdir.mkdir()
    train(segmentation.create_task(config.lock()), config, workdir)
    predictor = load_predictor(workdir, which="last")
    data = predictor.params.data
    rooms = LabelledScans(open_split(data, data.train), "scannet20", 20)
    confusions = evaluate_scenes(predictor.predict, iter(rooms), data.voxels, 20)
    assert summarize(confusions)["val_miou"] > 0.9
