"""Results of runs as tables in the style of the paper's Table 3."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fourdc_jax.results.paper import Published
from fourdc_jax.results.runs import Run


@dataclass(frozen=True)
class Column:
    """A column of scores.

    Attributes:
      heading: of the column; the paper's scores of that name stand in it.
      level, score: where results have it: `results[level][score]`.
      gain: whether to add what is gained over the first method.
    """

    heading: str
    level: str
    score: str
    gain: bool = False


@dataclass(frozen=True)
class Group:
    """The runs of one method on one share of the labels: its seeds.

    Attributes:
      name: of the method.
      percent: of the training scenes that are labelled.
      runs, results: one a seed, see `evaluate`.
    """

    name: str
    percent: float
    runs: tuple[Run, ...]
    results: tuple[dict[str, Any], ...]

    def scores(self, level: str, score: str) -> np.ndarray:
        """The score of every run, nan where it does not exist: [runs], or [runs, C] by class."""
        return np.array([result[level][score] for result in self.results], np.float64)

    def confusion(self, level: str) -> np.ndarray:
        """The runs' confusion matrices together, int64 [C, C]."""
        return sum(np.array(result[level]["confusion"], np.int64) for result in self.results)


def group_runs(runs: Sequence[Run], results: Sequence[dict[str, Any]]) -> list[Group]:
    """Runs of one name and share of labels together, in the order of the names' first run."""
    members: dict[tuple[str, float], list[int]] = {}
    for index, run in enumerate(runs):
        members.setdefault((run.name, run.percent), []).append(index)
    names = list(dict.fromkeys(run.name for run in runs))
    return [
        Group(name, percent, tuple(runs[i] for i in found), tuple(results[i] for i in found))
        for (name, percent), found in sorted(
            members.items(), key=lambda item: (item[0][1], names.index(item[0][0]))
        )
    ]


def choose_drawn(runs: Sequence[Run]) -> list[Run]:
    """The first run of every method, at the largest share of labels that any has."""
    most = max(run.percent for run in runs)
    drawn: dict[str, Run] = {}
    for run in runs:
        if run.percent == most:
            drawn.setdefault(run.name, run)
    return list(drawn.values())


def label_groups(groups: Sequence[Group]) -> list[str]:
    """A name for each: the method's, with its share of labels where there are several shares."""
    several = len({group.percent for group in groups}) > 1
    return [f"{g.name} {g.percent:g}%" if several else g.name for g in groups]


def format_methods(
    groups: Sequence[Group], columns: Sequence[Column], published: Sequence[Published] = ()
) -> str:
    """The scores of every group in percent, with what they gain over the first of its share.

    Means over the runs, with the standard deviation of a sample where there are several. Rows of
    the paper come last and are marked as its own.
    """
    first: dict[float, Group] = {}
    lines = [["Method", "Labels", "Runs", *(column.heading for column in columns)]]
    for group in groups:
        base = first.setdefault(group.percent, group)
        cells = [group.name, group.runs[0].labels, str(len(group.runs))]
        for column in columns:
            values = group.scores(column.level, column.score)
            cell = format_spread(values)
            if group is not base and column.gain:
                gain = values.mean() - base.scores(column.level, column.score).mean()
                cell += f" ({100 * gain:+.1f})"
            cells.append(cell)
        lines.append(cells)
    for row in published:
        scores = (row.scores.get(column.heading) for column in columns)
        cells = ["-" if score is None else f"{score:.1f}" for score in scores]
        lines.append([f"the paper's {row.table}: {row.method}", f"{row.percent:g}%", "-", *cells])
    return format_table(lines)


def format_classes(groups: Sequence[Group], names: Sequence[str]) -> str:
    """IoU of every class on voxels in percent, a column a group; "-" for a class that is absent."""
    columns = [group.scores("voxels", "iou") for group in groups]  # each [runs, C]
    lines = [["IoU", *label_groups(groups)]]
    for number, name in enumerate(names):
        lines.append([name, *(format_spread(column[:, number]) for column in columns)])
    lines.append(["mean", *(format_spread(group.scores("voxels", "miou")) for group in groups)])
    return format_table(lines)


def format_spread(values: np.ndarray) -> str:
    """ "70.0" of one run, "70.0 ± 0.3" of several, in percent; "-" where there is no value."""
    known = 100 * values[~np.isnan(values)]
    if not len(known):
        return "-"
    spread = f" ± {known.std(ddof=1):.1f}" if len(known) > 1 else ""
    return f"{known.mean():.1f}{spread}"


def format_table(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns aligned; the first line is the head."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    rows = []
    for line in lines:
        first, *rest = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths))
        )
        rows.append(f"| {' | '.join([first, *rest])} |")
    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([rows[0], f"|{rule}|", *rows[1:]])
