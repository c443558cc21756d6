"""Figures laid out in pixels: pictures side by side, without pyplot's global state."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK = "#2b2d33"
MUTED = "#7a7f8a"
PALETTE = ("#1f77d0", "#e4572e", "#0b9e77", "#7b4fd6", "#d99000", "#00a3c4", "#b14fc8")  # curves
DPI = 100


def new_figure(width: int, height: int) -> Figure:
    """An empty white figure of `width` x `height` pixels."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def add_picture(figure: Figure, image: UInt8[np.ndarray, "h w 3"], left: int, top: int) -> Axes:
    """Place an image with its upper left corner at pixel (left, top); data units are its pixels."""
    width, height = figure.get_size_inches() * DPI
    h, w = image.shape[:2]
    axes = figure.add_axes((left / width, 1 - (top + h) / height, w / width, h / height))
    axes.imshow(image, interpolation="none", extent=(0, w, h, 0), aspect="auto")
    axes.set_xlim(0, w)
    axes.set_ylim(h, 0)
    axes.axis("off")
    return axes


def style_axes(axes: Axes) -> None:
    """Light grid, muted numbers, lines at the left and the bottom only."""
    axes.tick_params(labelsize=9, colors=MUTED)
    axes.grid(True, color="#e6e8ec", linewidth=0.8)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(side in ("left", "bottom"))
        axes.spines[side].set_color("#c8ccd4")


def add_text(figure: Figure, text: str, left: int, top: int, *, size: int = 13, **style) -> None:
    """Write text with its upper left corner at pixel (left, top)."""
    width, height = figure.get_size_inches() * DPI
    style = {"color": INK, "va": "top", "ha": "left", **style}
    figure.text(left / width, 1 - top / height, text, fontsize=size, **style)


def save(figure: Figure, path: str | Path) -> Path:
    """Write the figure as .png, making the folder; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, facecolor="white")
    return path
