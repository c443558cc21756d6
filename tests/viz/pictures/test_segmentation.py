"""Scenes in the colours of their classes."""

import numpy as np
import pytest
from matplotlib import image

from fourdc_jax.viz.pictures import segmentation as segmentation_pictures
from fourdc_jax.viz.pictures.segmentation import (
    UNLABELLED,
    LabelledScene,
    draw_segmentation,
    find_legend,
    paint_classes,
    render_scene,
)

NAMES = ("floor", "wall", "table")
COLORS = ((0, 200, 0), (0, 0, 220), (230, 0, 0))


def make_scene(**labels):
    """A floor of 4 x 3 m with a wall behind it; class 0 and 1 are the truth."""
    rng = np.random.default_rng(0)
    floor = rng.uniform([0, 0, 0], [4, 3, 0.001], (3000, 3))
    wall = rng.uniform([0, 2.99, 0], [4, 3, 2], (2000, 3))
    truth = np.repeat(np.array([0, 1], np.int32), [3000, 2000])
    points = np.concatenate([floor, wall]).astype(np.float32)
    return LabelledScene("room", points, {"Ground truth": truth, **labels})


def test_what_is_no_class_is_grey():
    paint = paint_classes(np.array([2, 255, -1, 3, 0]), COLORS)
    assert paint.tolist() == [[230, 0, 0], [*UNLABELLED], [*UNLABELLED], [*UNLABELLED], [0, 200, 0]]


def test_the_legend_has_what_occurs_in_any_picture():
    scene = make_scene(Prediction=np.full(5000, 2, np.int32))
    assert find_legend([scene], NAMES, COLORS) == [*zip(NAMES, COLORS)]
    scene = make_scene(Prediction=np.full(5000, 255, np.int32))
    legend = find_legend([scene], NAMES, COLORS)
    assert [name for name, _ in legend] == ["floor", "wall", "unannotated"]


def test_pictures_show_geometry_and_each_column_in_its_colours():
    scene = make_scene(Prediction=np.full(5000, 2, np.int32))
    geometry, truth, prediction = render_scene(scene, COLORS, 200, 150)
    drawn = (geometry != 255).any(axis=2)
    assert drawn.mean() > 0.2
    assert ((truth != 255).any(axis=2) == drawn).mean() > 0.99  # one camera for all
    red, green, blue = np.moveaxis(truth[drawn].astype(int), -1, 0)
    assert (green > blue + 40).mean() > 0.3
    assert (blue > green + 40).mean() > 0.1
    assert (red < 130).mean() > 0.9
    red, green, _ = np.moveaxis(prediction[drawn].astype(int), -1, 0)
    assert (red > green + 40).mean() > 0.9


def test_large_scenes_are_thinned_before_they_are_drawn(monkeypatch):
    seen = []
    monkeypatch.setattr(segmentation_pictures, "MOST_POINTS", 1000)
    render = segmentation_pictures.render_points
    monkeypatch.setattr(
        segmentation_pictures,
        "render_points",
        lambda points, *args, **kwargs: seen.append(len(points)) or render(points, *args, **kwargs),
    )
    render_scene(make_scene(), COLORS, 80, 60)
    assert seen == [1000, 1000]


def test_a_row_a_scene_and_a_column_a_method(tmp_path):
    scenes = [make_scene(Prediction=np.zeros(5000, np.int64))] * 2
    path = draw_segmentation(scenes, NAMES, COLORS, tmp_path / "a" / "b.png", width=200, height=150)
    picture = image.imread(path)
    assert picture.shape[1] == 3 * 212 + 12
    assert picture.shape[0] > 2 * 150


@pytest.mark.parametrize(
    ("scenes", "message"),
    [
        ([], "no scene"),
        ([make_scene(Mine=np.zeros(3, np.int32))], "3 labels of 'Mine' for 5000 points"),
        ([make_scene(), make_scene(Mine=np.zeros(5000, np.int32))], r"the first scene of \['Gro"),
        ([LabelledScene("few", np.zeros((2, 3), np.float32), {})], "at least 4 points, got 2"),
    ],
)
def test_what_cannot_be_drawn_is_told(scenes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        draw_segmentation(scenes, NAMES, COLORS, tmp_path / "x.png")
