"""Loss curves, spread and rank of the features, learning rate from a run's metrics.jsonl."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from fourdc_jax.viz.figure import INK, MUTED, PALETTE, new_figure, save, style_axes

TERM = re.compile(r"(^|[^a-z])loss|loss($|[^a-z])|^total$|^\d?d\dd$|^\dd$", re.IGNORECASE)
SMOOTHED_FROM = 50  # logged steps from which a running mean is drawn over the raw values
RATE = "learning rate"
SPREAD = "feature spread (std)"

Curves = dict[str, tuple[np.ndarray, np.ndarray]]  # name -> (steps, values)


def draw_curves(
    metrics: str | Path | Iterable[Mapping[str, Any]],
    path: str | Path,
    *,
    terms: Sequence[str] | None = None,
    collapse: Mapping[str, float] | None = None,
    title: str = "",
) -> Path:
    """Draw the loss terms, the features' spread and rank and the learning rate, and write a .png.

    Apart from the losses only what was logged has a panel.

    Args:
      metrics: a metrics.jsonl, or its lines as dicts (each with a "step").
      path: the .png to write.
      terms: metrics to draw as losses; None takes "total", "3d", "3d4d", "4d" (any case) and every
        name that contains the word loss.
      collapse: spread metric -> its value for features without any collapse, 1 / sqrt(d) for d
        channels (SimSiam, section 4.1), drawn as a dashed line.
      title: one line over the panels.

    Raises:
      FileNotFoundError, ValueError: see `read_metrics`; no line with a step and a number.
    """
    history = read_metrics(metrics) if isinstance(metrics, (str, Path)) else metrics
    curves = collect_curves(history)
    if not curves:
        raise ValueError(
            f"{metrics if isinstance(metrics, (str, Path)) else 'the history'} holds no line with "
            f"a step and a number"
        )
    wanted = set(terms) if terms is not None else {name for name in curves if TERM.search(name)}
    spread = {name: curves[name] for name in curves if "std" in name.lower()}
    rank = {name: curves[name] for name in curves if "rank" in name.lower()}
    rate = {name: curves[name] for name in curves if name in ("learning_rate", "lr")}
    others = spread | rank
    losses = {name: c for name, c in curves.items() if name in wanted and name not in others}
    header = 44 if title else 10
    figure = new_figure(1560, 400 + header)
    if title:
        figure.text(0.012, 1 - 14 / (400 + header), title, fontsize=14, color=INK, va="top")
    panels = {"loss": losses, SPREAD: spread, "feature directions (rank)": rank, RATE: rate}
    panels = {name: curves for name, curves in panels.items() if curves or name == "loss"}
    height = 1 - (header + 34) / (400 + header) - 0.13
    for name, box in zip(panels, _boxes(len(panels), 0.13, height)):
        axes = figure.add_axes(box)
        draw_panel(axes, name, panels[name])
        if name == SPREAD:
            _draw_collapse(axes, spread, collapse or {})
    return save(figure, path)


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl.

    A run that was killed may leave a broken line; those are skipped.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file has no readable line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no metrics file {path}: has the run logged its first step?")
    rows = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    if not rows:
        raise ValueError(f"{path} has no readable line: has the run logged its first step?")
    return rows


def collect_curves(
    history: Iterable[Mapping[str, Any]],
) -> Curves:
    """Name -> (steps, values), ascending; where a resumed run logged a step again the last counts.

    Lines without a step and values that are no numbers are left out; NaN and infinity stay.
    """
    curves: dict[str, dict[float, float]] = {}
    for row in history:
        step = row.get("step")
        if isinstance(step, bool) or not isinstance(step, (int, float)):
            continue
        for name, value in row.items():
            if name == "step" or isinstance(value, bool) or not isinstance(value, (int, float)):
                continue
            curves.setdefault(name, {})[float(step)] = float(value)
    return {
        name: tuple(np.array(column, np.float64) for column in zip(*sorted(values.items())))
        for name, values in sorted(curves.items())
    }


def smooth(values: Float[np.ndarray, "k"], window: int) -> Float[np.ndarray, "k"]:
    """Mean of the finite values within `window` // 2 steps to either side."""
    half = window // 2
    finite = np.isfinite(values)
    sums = np.cumsum(np.pad(np.where(finite, values, 0.0), (1, 0)))
    counts = np.cumsum(np.pad(finite.astype(np.int64), (1, 0)))
    low = np.maximum(np.arange(len(values)) - half, 0)
    high = np.minimum(np.arange(len(values)) + half + 1, len(values))
    present = counts[high] - counts[low]
    return np.where(present > 0, (sums[high] - sums[low]) / np.maximum(present, 1), np.nan)


def draw_panel(axes: Axes, title: str, curves: Curves) -> None:
    """One panel: raw values thin, their running mean on top, gaps where a value is not finite."""
    axes.set_title(title, loc="left", fontsize=12, color=INK)
    axes.set_xlabel("step", fontsize=10, color=MUTED)
    style_axes(axes)
    if not curves:
        axes.text(0.5, 0.5, "not logged", ha="center", va="center", color=MUTED, fontsize=11,
                  transform=axes.transAxes)  # fmt: skip
        return
    for name, (steps, values) in curves.items():
        color = _color_of(name, curves)
        values = np.where(np.isfinite(values), values, np.nan)
        if len(steps) >= SMOOTHED_FROM and title != RATE:
            axes.plot(steps, values, color=color, linewidth=0.8, alpha=0.3)
            mean = smooth(values, len(steps) // 20)
            axes.plot(steps, mean, color=color, linewidth=2, label=name)
        else:
            marker = "o" if len(steps) < 20 else None
            axes.plot(steps, values, color=color, linewidth=2, marker=marker, markersize=4,
                      label=name)  # fmt: skip
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize=10, labelcolor=INK)


def _boxes(count: int, bottom: float, height: float) -> list[tuple[float, float, float, float]]:
    """Left, bottom, width, height of the panels in a row, the first twice as wide as the others."""
    margin, gap = 0.045, 0.055
    unit = (0.99 - margin - gap * (count - 1)) / (count + 1)
    lefts = [margin] + [margin + 2 * unit + gap + i * (unit + gap) for i in range(count - 1)]
    return [(left, bottom, (1 + (i == 0)) * unit, height) for i, left in enumerate(lefts)]


def _draw_collapse(axes: Axes, spread: Curves, collapse: Mapping[str, float]) -> None:
    """Dashed lines where features without any collapse lie; the axis starts at 0, full collapse."""
    for name, level in collapse.items():
        axes.axhline(level, color=_color_of(name, spread), linestyle="--", linewidth=1.2)
    values = np.concatenate([values for _, values in spread.values()])
    highest = max([*collapse.values(), *values[np.isfinite(values)]], default=1.0)
    axes.set_ylim(0, 1.15 * highest if highest > 0 else 1.0)
    style = {"color": MUTED, "fontsize": 9, "ha": "right", "va": "bottom"}
    axes.text(0.98, 0.02, "0: collapsed", transform=axes.transAxes, **style)
    if collapse:
        across = axes.get_yaxis_transform()
        axes.text(0.98, max(collapse.values()), "1/√d: not collapsed", transform=across, **style)


def _color_of(name: str, curves: Curves) -> str:
    """The curve's own colour within its panel; the total is dark."""
    if name == "total":
        return INK
    names = [n for n in curves if n != "total"]
    return PALETTE[names.index(name) % len(PALETTE)] if name in names else MUTED
