"""A labelled cloud as .ply."""

import numpy as np
import pytest
from plyfile import PlyData

from fourdc_jax.data.exports import write_labelled_ply
from fourdc_jax.data.sources.source import open_scans


def make_cloud(n=60):
    rng = np.random.default_rng(0)
    return {
        "points": rng.normal(size=(n, 3)).astype(np.float32),
        "colors": rng.integers(0, 256, (n, 3)).astype(np.uint8),
        "labels": rng.integers(0, 3, n),
        "confidence": rng.random(n).astype(np.float32),
    }


def test_the_file_holds_what_was_written_and_names_the_classes(tmp_path):
    cloud = make_cloud()
    path = write_labelled_ply(tmp_path / "a" / "b.ply", **cloud, names=("wall", "night stand"))
    ply = PlyData.read(str(path))
    assert ply.comments == ["class 0 wall", "class 1 night stand"]
    np.testing.assert_array_equal(ply["vertex"]["confidence"], cloud["confidence"])
    scan = open_scans(str(path), min_points=1)[0]
    for column in ("points", "colors", "labels"):
        np.testing.assert_array_equal(getattr(scan, column), cloud[column])


def test_labels_that_do_not_fit_are_told(tmp_path):
    cloud = make_cloud()
    cloud["labels"][0] = -1
    with pytest.raises(ValueError, match="labels go from -1 to 2: give 0 to 255"):
        write_labelled_ply(tmp_path / "x.ply", **cloud)
