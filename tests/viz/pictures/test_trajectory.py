import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from fourdc_jax.viz.pictures.trajectory import (
    BLOCKED_HIGH,
    BLOCKED_LOW,
    CANDIDATE,
    UNSEEN,
    VALID,
    draw_trajectory_map,
    paint_cells,
)


def scene():
    heights = np.zeros((30, 20), np.float32)
    heights[:, 0] = 2.4
    heights[0, 1] = np.nan
    valid = np.zeros((30, 20), bool)
    valid[:, 2:] = True
    return heights, valid, np.argwhere(valid)[100:200]


def test_cells_have_the_colour_of_their_kind():
    heights, valid, candidates = scene()
    image = paint_cells(heights, valid, candidates)
    np.testing.assert_allclose(image[5, 0], to_rgb(BLOCKED_HIGH))
    np.testing.assert_allclose(image[5, 1], to_rgb(BLOCKED_LOW))
    np.testing.assert_allclose(image[0, 1], to_rgb(UNSEEN))
    np.testing.assert_allclose(image[tuple(candidates[3])], to_rgb(CANDIDATE))
    np.testing.assert_allclose(image[29, 19], to_rgb(VALID))


def test_the_picture_shows_the_trajectory_where_it_is(tmp_path):
    heights, valid, candidates = scene()
    common = (heights, valid, candidates, np.array([0.0, 0.0]), 0.1)
    positions = np.array([[1.0, 1.0], [1.6, 1.1], [2.1, 1.2]])
    headings = np.array([0.1, 0.1, 0.2])
    path = draw_trajectory_map(*common, positions, headings, 0.3, tmp_path / "a.png", title="a")
    empty = np.zeros((0, 2)), np.zeros(0)
    bare = draw_trajectory_map(*common, *empty, 0.0, tmp_path / "b.png", title="a")
    changed = np.abs(imread(path) - imread(bare)).sum(axis=2) > 0.05
    columns = np.nonzero(changed)[1]
    assert changed.sum() > 2000
    width = changed.shape[1]
    assert columns.min() > 0.2 * width  # x from 0.7 m of a map from 0 to 3 m
    assert columns.max() < 0.85 * width
