"""The score against the share of labelled scenes, as in the paper's Figure 6."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import NullFormatter, NullLocator

from fourdc_jax.viz.figure import INK, MUTED, PALETTE, new_figure, save, style_axes

WIDTH, HEIGHT = 760, 520  # pixels


def draw_label_efficiency(
    results: Mapping[str, Mapping[float, Sequence[float]]],
    path: str | Path,
    *,
    ylabel: str = "mIoU (%)",
) -> Path:
    """Draw a line a method through its means, its spread as a band, its runs as dots.

    The band is one standard deviation (of a sample) to either side where there are several runs.

    Args:
      results: method -> percent of the scenes, above 0 -> the score, 0 to 1, of every run.
      path: the .png to write.
      ylabel: what the score is.

    Raises:
      ValueError: no runs, or a percentage without any.
    """
    if not results or not all(runs and all(runs.values()) for runs in results.values()):
        raise ValueError("every method needs at least one run at every percentage it is drawn at")
    figure = new_figure(WIDTH, HEIGHT)
    axes = figure.add_axes((0.10, 0.125, 0.87, 0.80))
    axes.set_xscale("log")
    for number, (name, runs) in enumerate(results.items()):
        percents = sorted(runs)
        scores = [100 * np.array(runs[percent], np.float64) for percent in percents]
        means = np.array([score.mean() for score in scores])
        spread = np.array([score.std(ddof=1) if len(score) > 1 else 0.0 for score in scores])
        color = PALETTE[number % len(PALETTE)]
        axes.fill_between(percents, means - spread, means + spread, color=color, alpha=0.15, lw=0)
        axes.plot(percents, means, color=color, linewidth=2.2, marker="o", markersize=5, label=name)
        for percent, score in zip(percents, scores):
            axes.plot([percent] * len(score), score, ".", color=color, markersize=5, alpha=0.5)
    _write_means(axes, results)
    ticks = sorted({percent for runs in results.values() for percent in runs})
    axes.set_xticks(ticks, [f"{percent:g}%" for percent in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.08, y=0.12)
    axes.set_xlabel("labelled training scenes", fontsize=11, color=MUTED)
    axes.set_ylabel(ylabel, fontsize=11, color=MUTED)
    style_axes(axes)
    axes.legend(frameon=False, fontsize=11, labelcolor=INK, loc="upper left")
    return save(figure, path)


def _write_means(axes, results: Mapping[str, Mapping[float, Sequence[float]]]) -> None:
    """The highest mean of a percentage above its dot, the lowest below."""
    for percent in sorted({percent for runs in results.values() for percent in runs}):
        means = {
            100 * float(np.mean(runs[percent])): PALETTE[number % len(PALETTE)]
            for number, runs in enumerate(results.values())
            if percent in runs
        }
        for mean, offset in {min(means): -9, max(means): 9}.items():
            axes.annotate(
                f"{mean:.1f}", (percent, mean), (0, offset), textcoords="offset points",
                ha="center", va="bottom" if offset > 0 else "top", fontsize=9, color=means[mean],
            )  # fmt: skip
