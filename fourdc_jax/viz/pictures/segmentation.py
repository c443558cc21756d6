"""Scenes in the colours of their classes, side by side: input, ground truth, predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fourdc_jax.viz.figure import INK, MUTED, add_picture, add_text, new_figure, save
from fourdc_jax.viz.rendering.camera import check_points, look_at_room
from fourdc_jax.viz.rendering.render import render_points

UNLABELLED = (198, 200, 204)  # RGB of points without a class
MOST_POINTS = 600_000  # of a scan that are drawn
GAP, HEADER, LEGEND_ROW, LEGEND_COLUMN = 12, 34, 26, 172  # pixels


@dataclass(frozen=True)
class LabelledScene:
    """A scene and the classes that its points have, by whoever says so.

    Attributes:
      name: of the scene.
      points: z up, metres.
      labels: column heading -> classes 0 .. C-1 of the points; any other number is no class.
    """

    name: str
    points: Float[np.ndarray, "n 3"]
    labels: Mapping[str, Integer[np.ndarray, "n"]]


def draw_segmentation(
    scenes: Sequence[LabelledScene],
    names: Sequence[str],
    colors: Sequence[tuple[int, int, int]],
    path: str | Path,
    *,
    width: int = 560,
    height: int = 420,
) -> Path:
    """Draw a row a scene, the geometry first, then a column for each of its labels; write a .png.

    Args:
      scenes: with the same columns.
      names, colors: of the classes 0 .. C-1, RGB 0 .. 255; those that occur are in the legend.
      path: the .png to write.
      width, height: of one picture in pixels.

    Raises:
      ValueError: no scene, scenes of different columns, labels whose number is not that of the
        points, or points that cannot be drawn.
    """
    columns = check_scenes(scenes)
    legend = find_legend(scenes, names, colors)
    full = (1 + len(columns)) * (width + GAP) + GAP
    per_row = max(1, (full - 2 * GAP) // LEGEND_COLUMN)
    bottom = HEADER + len(scenes) * (height + GAP)
    figure = new_figure(full, bottom + -(-len(legend) // per_row) * LEGEND_ROW + GAP)
    for column, heading in enumerate(["Input", *columns]):
        add_text(figure, heading, GAP + column * (width + GAP) + 4, 10, size=13)
    for row, scene in enumerate(scenes):
        top = HEADER + row * (height + GAP)
        for column, image in enumerate(render_scene(scene, colors, width, height)):
            axes = add_picture(figure, image, GAP + column * (width + GAP), top)
            if column == 0:
                axes.text(6, height - 6, scene.name, fontsize=9, color=MUTED, va="bottom")
    for index, (name, color) in enumerate(legend):
        row, column = divmod(index, per_row)
        add_swatch(figure, name, color, GAP + column * LEGEND_COLUMN, bottom + row * LEGEND_ROW)
    return save(figure, path)


def check_scenes(scenes: Sequence[LabelledScene]) -> list[str]:
    """The columns that all scenes have; raises ValueError where they cannot be drawn."""
    if not scenes:
        raise ValueError("there is no scene to draw")
    columns = list(scenes[0].labels)
    for scene in scenes:
        check_points(scene.points)
        if list(scene.labels) != columns:
            raise ValueError(
                f"scene {scene.name!r} has labels of {list(scene.labels)}, the first scene of "
                f"{columns}"
            )
        for column, labels in scene.labels.items():
            if len(labels) != len(scene.points):
                raise ValueError(
                    f"scene {scene.name!r}: {len(labels)} labels of {column!r} for "
                    f"{len(scene.points)} points"
                )
    return columns


def render_scene(
    scene: LabelledScene, colors: Sequence[tuple[int, int, int]], width: int, height: int
) -> list[UInt8[np.ndarray, "height width 3"]]:
    """Its geometry, then a picture for each of its labels, all from one camera."""
    points, kept = scene.points, slice(None)
    if len(points) > MOST_POINTS:
        kept = np.random.default_rng(0).choice(len(points), MOST_POINTS, replace=False)
        points = points[kept]
    camera = look_at_room(points, width=width, height=height)
    pictures = [render_points(points, camera)]
    for labels in scene.labels.values():
        paint = paint_classes(labels[kept], colors)
        pictures.append(render_points(points, camera, colors=paint, shading=0.6))
    return pictures


def paint_classes(
    labels: Integer[np.ndarray, "n"], colors: Sequence[tuple[int, int, int]]
) -> UInt8[np.ndarray, "n 3"]:
    """RGB of every label; grey for what is no class."""
    palette = np.array([*colors, UNLABELLED], np.uint8)  # [C + 1, 3]
    return palette[np.where(is_class(labels, len(colors)), labels, len(colors))]


def is_class(labels: Integer[np.ndarray, "n"], num_classes: int) -> Bool[np.ndarray, "n"]:
    """Where a label is one of 0 .. C-1."""
    return (labels >= 0) & (labels < num_classes)


def find_legend(
    scenes: Sequence[LabelledScene],
    names: Sequence[str],
    colors: Sequence[tuple[int, int, int]],
) -> list[tuple[str, tuple[int, int, int]]]:
    """Name and colour of the classes that occur, in their order, and of what has none."""
    present = np.unique(
        [label for s in scenes for labels in s.labels.values() for label in np.unique(labels)]
    ).astype(np.int64)
    known = is_class(present, len(names))
    legend = [(names[label], colors[label]) for label in present[known]]
    return legend if known.all() else [*legend, ("unannotated", UNLABELLED)]


def add_swatch(figure: Figure, text: str, color: tuple[int, int, int], left: int, top: int) -> None:
    """A square of a colour with its name, its upper left corner at pixel (left, top)."""
    width, height = figure.get_size_inches() * figure.dpi
    square = Rectangle(
        (left / width, 1 - (top + 18) / height),
        16 / width,
        16 / height,
        facecolor=np.array(color) / 255,
        transform=figure.transFigure,
    )
    figure.add_artist(square)
    add_text(figure, text, left + 22, top + 2, size=10, color=INK)
