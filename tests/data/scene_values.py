"""Values of a configuration and small labelled scenes, for the tests of labelled scenes."""

from dataclasses import replace
from functools import partial

import numpy as np

from fourdc_jax.data.readers.entry import Entry
from fourdc_jax.data.scan import Scan
from fourdc_jax.data.sources import Source

AUGMENTATION = {
    "dropout": 0.2,
    "dropout_probability": 0.2,
    "elastic_granularity": (0.2, 0.8),
    "elastic_magnitude": (0.4, 1.6),
    "elastic_probability": 0.95,
    "rotation": (2.8125, 2.8125, 180.0),
    "scale": (0.9, 1.1),
    "flip_probability": 0.95,
    "voxel_offset": 99,
    "color": {"contrast": 0.2, "shift": 0.1, "noise": 0.05, "probability": 0.95},
}
IDENTITY = {
    "dropout": 0.0,
    "dropout_probability": 0.0,
    "elastic_granularity": (),
    "elastic_magnitude": (),
    "elastic_probability": 0.0,
    "rotation": (0.0, 0.0, 0.0),
    "scale": (1.0, 1.0),
    "flip_probability": 0.0,
    "voxel_offset": 0,
    "color": {"contrast": 0.0, "shift": 0.0, "noise": 0.0, "probability": 0.0},
}
DATA = {  # of config.data, without the scans; clouds in files with three classes
    "classes": {"label_set": "file", "num_classes": 3},
    "align_axes": False,
    "scan_scale": 1.0,
    "min_scan_points": 1000,
    "label_tables": (),
    "cached": 4,
    "augmentation": AUGMENTATION,
    "overflow": "crop",
    "num_workers": 0,
    "prefetch": 1,
}


def build_scene(seed=0, num_points=4000, size=(4.0, 3.0, 2.0)):
    """Points on a floor and two walls; the label tells the surface, the colour the place."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, size, (num_points, 3))
    labels = rng.integers(0, 3, num_points).astype(np.int32)
    points[np.arange(num_points), 2 - labels] = 0
    colors = np.clip(points / size * 255, 0, 255).astype(np.uint8)
    points = points.astype(np.float32) + np.array([-1.5, 2.0, 0.1], np.float32)
    instances = (labels + 1).astype(np.int32)
    return Scan(f"scene_{seed}", points, colors, labels, instances, label_set="scannet20")


def build_source(scans):
    """Scans in memory as a source."""
    return Source([Entry(s.name, "scan", "", partial(replace, s)) for s in scans], {})
