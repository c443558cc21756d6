"""What a comparison of runs comes to, for every task alike."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from fourdc_jax.results.runs import Run
from fourdc_jax.viz.page import Picture

Progress = Callable[[Any, Run], Iterable[Any]]  # (scenes, whose): goes through the scenes


class Comparison(NamedTuple):
    """Runs of one task side by side.

    Attributes:
      title: the task, for people.
      head: what was evaluated and how it counts, in one line.
      tables: in Markdown.
      summary: the one number of every method, by its name.
      pictures: that were written.
    """

    title: str
    head: str
    tables: str
    summary: Mapping[str, float]
    pictures: tuple[Picture, ...]
