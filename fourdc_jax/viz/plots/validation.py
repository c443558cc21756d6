"""Training losses and validation scores from a run's metrics.jsonl."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fourdc_jax.viz.figure import new_figure, save
from fourdc_jax.viz.plots.curves import RATE, collect_curves, draw_panel


def draw_validation(
    history: Iterable[Mapping[str, Any]],
    path: str | Path,
    *,
    losses: Sequence[str],
    scores: Sequence[str],
) -> Path:
    """Draw the losses, the scores of validation and the learning rate, and write a .png.

    Args:
      history: lines of metrics.jsonl as dicts, each with a "step".
      path: the .png to write.
      losses, scores: names of the metrics; those that were never logged are left out.
    """
    curves = collect_curves(history)
    figure = new_figure(1560, 410)
    panels = {"loss": losses, "validation": scores, RATE: ("learning_rate",)}
    for index, (title, names) in enumerate(panels.items()):
        axes = figure.add_axes((0.045 + index * 0.325, 0.13, 0.27, 0.76))
        draw_panel(axes, title, {name: curves[name] for name in names if name in curves})
    return save(figure, path)
