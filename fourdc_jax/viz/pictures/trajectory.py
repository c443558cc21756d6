"""Picture of the map of valid object positions with a trajectory on it."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle, FancyArrow, Patch

from fourdc_jax.viz.figure import INK, MUTED, new_figure, save

UNSEEN, BLOCKED_LOW, BLOCKED_HIGH = "#ffffff", "#d9c3b0", "#6b4a35"
VALID, CANDIDATE = "#dcebd8", "#9ccf94"
HEIGHT_SHOWN = 2.0  # metres above the floor at which the brown is darkest
TIME_COLORS = ("#e8a800", "#c8102e")  # first and last frame
WIDTH, HEIGHT = 760, 720  # pixels


def draw_trajectory_map(
    heights: Float[np.ndarray, "w h"],
    valid: Bool[np.ndarray, "w h"],
    candidates: Int[np.ndarray, "c 2"],
    corner: Float[np.ndarray, "2"],
    cell: float,
    positions: Float[np.ndarray, "t 2"],
    headings: Float[np.ndarray, "t"],
    radius: float,
    path: str | Path,
    *,
    title: str = "",
) -> Path:
    """Draw a scan's map seen from above, and the bounding sphere of an object at its positions.

    Args:
      heights: highest point of each cell above the floor in metres, NaN where the cell is empty;
        the first axis is x.
      valid: cells that an object's bounding sphere may cover.
      candidates: indices of the cells that its centre may stand on.
      corner: x and y in metres of the corner of cell (0, 0).
      cell: side of a cell in metres.
      positions, headings: of the object in each frame; metres, radians. May be empty.
      radius: of its bounding sphere in metres.
      path: the .png to write.
    """
    figure = new_figure(WIDTH, HEIGHT)
    axes = figure.add_axes((0.09, 0.14, 0.88, 0.78))
    low, high = corner, corner + np.array(valid.shape) * cell
    axes.imshow(
        paint_cells(heights, valid, candidates).transpose(1, 0, 2),
        origin="lower",
        extent=(low[0], high[0], low[1], high[1]),
        interpolation="nearest",
    )
    first, last = (np.array(to_rgb(color)) for color in TIME_COLORS)
    axes.plot(*positions.T, color=INK, linewidth=1.2, zorder=2)
    for frame, (position, heading) in enumerate(zip(positions, headings)):
        color = first + (last - first) * frame / max(len(positions) - 1, 1)
        axes.add_patch(Circle(position, radius, facecolor=(*color, 0.12), edgecolor=color, lw=1.5))
        arrow = 0.6 * radius * np.array([np.cos(heading), np.sin(heading)])
        axes.add_patch(
            FancyArrow(*position, *arrow, width=0.03, length_includes_head=True, color=color)
        )
        axes.annotate(
            str(frame), position, (-9, -9), textcoords="offset points", fontsize=11, color=INK
        )
    axes.set_xlim(low[0] - cell, high[0] + cell)
    axes.set_ylim(low[1] - cell, high[1] + cell)
    axes.set_xlabel("x (m)", color=MUTED)
    axes.set_ylabel("y (m)", color=MUTED)
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    keys = {"centre may stand here": CANDIDATE, "valid": VALID, "occupied": BLOCKED_HIGH}
    patches = [Patch(facecolor=color, label=label) for label, color in keys.items()]
    patches.append(Patch(facecolor=UNSEEN, edgecolor=MUTED, label="not seen"))
    figure.legend(handles=patches, loc="lower center", ncols=4, frameon=False, fontsize=10)
    return save(figure, path)


def paint_cells(
    heights: Float[np.ndarray, "w h"],
    valid: Bool[np.ndarray, "w h"],
    candidates: Int[np.ndarray, "c 2"],
) -> Float[np.ndarray, "w h 3"]:
    """Colours of the cells: green where valid, brown by height where occupied."""
    image = np.tile(np.array(to_rgb(UNSEEN)), (*valid.shape, 1))
    occupied = np.isfinite(heights)
    low, high = np.array(to_rgb(BLOCKED_LOW)), np.array(to_rgb(BLOCKED_HIGH))
    share = np.clip(heights[occupied] / HEIGHT_SHOWN, 0, 1)[:, None]  # [occupied, 1]
    image[occupied] = low + (high - low) * share
    image[valid] = to_rgb(VALID)
    image[tuple(candidates.T)] = to_rgb(CANDIDATE)
    return image
