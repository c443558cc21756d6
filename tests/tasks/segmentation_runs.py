"""A tiny segmentation run on clouds in files: two walls and a floor, learnt in seconds."""

import numpy as np
from data.scene_values import IDENTITY, build_scene
from ml_collections import ConfigDict

from configs.segmentation import get_config

NAMES = ("floor", "wall", "side wall")


def write_scenes(folder, seeds, **changes):
    """Labelled clouds as .npz, and the names of their classes."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        scene = build_scene(seed, 3000)
        columns = {"points": scene.points, "labels": scene.labels, "colors": scene.colors}
        columns |= changes
        kept = {name: column for name, column in columns.items() if column is not None}
        np.savez(folder / f"scene_{seed}.npz", **kept)
    (folder / "classes.txt").write_text("\n".join(NAMES))
    return folder


def tiny_config(train, validation, **changes) -> ConfigDict:
    """The demo, with a network and scenes that compile and run in seconds."""
    config = get_config("demo").unlock()
    config.total_steps, config.batch_size = 60, 2
    config.eval.every = config.checkpoint.every = 30
    config.log.every, config.log.tensorboard = 1, False
    config.optimizer.learning_rate = 0.3
    config.data.classes.label_set = "file"
    config.data.train.scans, config.data.validation.scans = str(train), str(validation)
    config.data.augmentation.update(IDENTITY)
    config.data.voxels.voxel = 0.25
    config.data.capacity.multiple, config.data.capacity.margin = 64, 2.2
    network = config.model.network_3d
    network.planes, network.layers = (8,) * 8, (1, 0, 0, 0, 0, 0, 0, 0)
    network.stem_channels = 8
    config.update_from_flattened_dict(changes)
    return config.lock()
