"""A confusion matrix as a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Integer
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from fourdc_jax.viz.figure import INK, MUTED, new_figure, save

BLUES = LinearSegmentedColormap.from_list("blues", ["#ffffff", "#a9cdf0", "#1f77d0", "#0b2f5c"])
ABSENT = "#eceef1"  # of a row without points
CELL, LETTER, MARGIN, HEADER = 40, 7.5, 24, 64  # pixels
SHOWN = 0.01  # smallest share that is written out


def draw_confusion(
    confusion: Integer[np.ndarray, "c c"],
    names: Sequence[str],
    path: str | Path,
    *,
    title: str = "",
) -> Path:
    """Draw each true class as a row, divided by its number of points, and write a .png.

    Args:
      confusion: counts, rows = true class, columns = predicted class.
      names: of the classes.
      path: the .png to write.
      title: one line over the matrix.

    Raises:
      ValueError: another number of names than classes.
    """
    count = len(confusion)
    if len(names) != count:
        raise ValueError(f"there are {len(names)} names for {count} classes: name each class once")
    label = int(LETTER * max(len(name) for name in names)) + 20
    side = count * CELL
    width, height = label + side + MARGIN, HEADER + side + label + MARGIN
    figure = new_figure(max(width, 460), height)
    width = max(width, 460)
    axes = figure.add_axes((label / width, (label + MARGIN) / height, side / width, side / height))
    figure.text(16 / width, 1 - 14 / height, title or "Confusion matrix", fontsize=13, va="top")
    figure.text(16 / width, 1 - 38 / height, "rows: true class, columns: predicted class, percent "
                "of the row", fontsize=9, color=MUTED, va="top")  # fmt: skip
    shares = normalize_rows(confusion)
    axes.set_facecolor(ABSENT)
    axes.imshow(np.ma.masked_invalid(shares), cmap=BLUES, vmin=0, vmax=1, interpolation="none")
    _write_shares(axes, shares)
    axes.set_xticks(range(count), names, rotation=90, fontsize=9, color=INK)
    axes.set_yticks(range(count), names, fontsize=9, color=INK)
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#e6e8ec", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return save(figure, path)


def normalize_rows(confusion: Integer[np.ndarray, "c c"]) -> Float[np.ndarray, "c c"]:
    """Each row divided by its sum; nan where that is 0."""
    sums = confusion.sum(axis=1, keepdims=True)  # [c, 1]
    nothing = np.full(confusion.shape, np.nan)
    return np.divide(confusion, sums, out=nothing, where=sums > 0)


def _write_shares(axes: Axes, shares: Float[np.ndarray, "c c"]) -> None:
    """The percentages that are not negligible, and which classes have no points."""
    for row, values in enumerate(shares):
        if np.isnan(values).all():
            middle = (len(values) - 1) / 2
            axes.text(middle, row, "no points", ha="center", va="center", fontsize=8, color=MUTED)
            continue
        for column in np.flatnonzero(values >= SHOWN):
            color = "white" if values[column] > 0.5 else INK
            axes.text(column, row, f"{100 * values[column]:.0f}", ha="center", va="center",
                      fontsize=8, color=color)  # fmt: skip
