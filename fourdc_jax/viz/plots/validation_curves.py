"""Training loss and validation scores from a run's metrics.jsonl."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fourdc_jax.viz.panels import new_figure, save
from fourdc_jax.viz.plots.curves import collect_curves, draw_panel

PANELS = {
    "loss": ("loss",),
    "validation": ("val_miou", "val_macc", "val_overall"),
    "learning rate": ("learning_rate",),
}


def draw_validation(history: Iterable[Mapping[str, Any]], path: str | Path) -> Path:
    """Draw the loss, the scores of validation and the learning rate, and write a .png.

    Args:
      history: lines of metrics.jsonl as dicts, each with a "step".
      path: the .png to write.
    """
    curves = collect_curves(history)
    figure = new_figure(1560, 410)
    for index, (title, names) in enumerate(PANELS.items()):
        axes = figure.add_axes((0.045 + index * 0.325, 0.13, 0.27, 0.76))
        draw_panel(axes, title, {name: curves[name] for name in names if name in curves})
    return save(figure, path)
