"""Finished runs: what their config says, and the results that are stored in their workdirs."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from fourdc_jax.files import read_json, write_atomically
from fourdc_jax.train.checkpoints import FOLDER, find_step
from fourdc_jax.train.run_config import flatten, read_config

RESULTS = "results.json"  # inside a workdir
# Values that may differ between the seeds of one method: none of them is a method.
OF_SEEDS = ("seed", "data.limited.seed", "data.num_workers", "log", "checkpoint")


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
      name: of its method; runs of one name differ in their seeds.
      workdir: its folder.
      config: plain values that it was started with.
    """

    name: str
    workdir: Path
    config: Mapping[str, Any]

    @property
    def task(self) -> str:
        """What it was trained for."""
        return self.config["task"]

    @property
    def limited(self) -> Mapping[str, Any]:
        """The part of the labels that it saw; empty for a task without labels."""
        return self.config.get("data", {}).get("limited", {})

    @property
    def percent(self) -> float:
        """Share of the training scenes whose labels it saw."""
        return float(self.limited.get("percent", 100.0))

    @property
    def labels(self) -> str:
        """That share in words: of a seeded subset, or of a list such as the benchmark's."""
        if self.percent == 100:
            return "100%"
        chosen = "list" if self.limited["list_file"] else "seeded"
        return f"{self.percent:g}% ({chosen})"


@dataclass(frozen=True)
class Evaluated:
    """What of a run is evaluated, and how.

    Attributes:
      which: checkpoint: the best in validation, or the last.
      rotations: turns about z whose mean is taken.
      max_rows: voxels of a tile; None for what fits.
    """

    which: Literal["best", "last"] = "best"
    rotations: int = 1
    max_rows: int | None = None


def read_runs(workdirs: Sequence[Path], names: Sequence[str] | None) -> list[Run]:
    """The runs in those folders, of the methods `names`, else named by what they started from.

    Raises:
      FileNotFoundError, ValueError: not a name each, a workdir twice or one that is none, runs of
        different tasks, or without names runs that are no seeds of one method.
    """
    if names is not None and len(names) != len(workdirs):
        raise ValueError(f"{len(names)} --names for {len(workdirs)} --workdirs: name each one")
    if len({path.resolve() for path in workdirs}) < len(workdirs):
        raise ValueError("a workdir is named twice: its run would count as two seeds")
    runs = [read_run(path, name) for path, name in zip(workdirs, names or [""] * len(workdirs))]
    for run in runs:
        if run.task != runs[0].task:
            raise ValueError(
                f"{runs[0].workdir} is a run of the task {runs[0].task!r} and {run.workdir} of "
                f"{run.task!r}: their scores do not compare"
            )
    if names is None:
        check_seeds(runs)
    return runs


def read_run(workdir: Path, name: str = "") -> Run:
    """The run in a folder, named `name`, else "pre-trained" or "scratch" by what it started from.

    Raises:
      FileNotFoundError: it is no run.
      ValueError: nor is it one where its config.json names no task.
    """
    config = read_config(workdir)
    if "task" not in config:
        raise ValueError(f"{workdir} is no run: its config.json names no task")
    source = config.get("init", {}).get("source", "")
    return Run(name or ("pre-trained" if source else "scratch"), workdir, config)


def check_seeds(runs: Sequence[Run]) -> None:
    """Raises ValueError where runs that bear one name only by default differ in more than seeds."""
    first: dict[tuple[str, float], Run] = {}
    for run in runs:
        other = first.setdefault((run.name, run.percent), run)
        one, two = flatten(run.config), flatten(other.config)
        changed = [
            key
            for key in sorted(one.keys() | two.keys())
            if one.get(key) != two.get(key)
            and not any(key == free or key.startswith(f"{free}.") for free in OF_SEEDS)
        ]
        if changed:
            raise ValueError(
                f"{run.workdir} and {other.workdir} differ in {', '.join(changed)}: they are no "
                "seeds of one method; give --names"
            )


def stored_results(
    run: Run,
    scenes: Sequence[str],
    how: Evaluated,
    evaluate: Callable[[], dict[str, Any]],
    *,
    best_metric: str,
    again: bool = False,
) -> dict[str, Any]:
    """Results of a run: those in its workdir if they are of this checkpoint, else new ones.

    Args:
      run: where results are stored.
      scenes: names of what is evaluated.
      how: what of the run is evaluated, and how.
      evaluate: makes the results, as JSON values; called only where they are needed.
      best_metric: by which the best checkpoint is known.
      again: do not read what is stored.

    Returns:
      What results.json holds: "of" (checkpoint, options and scenes), and what `evaluate` made.

    Raises:
      FileNotFoundError, ValueError: there is no such checkpoint.
    """
    step = find_step(run.workdir, best_metric if how.which == "best" else "")
    written = (run.workdir / FOLDER / str(step)).stat().st_mtime_ns
    of = {"step": step, "written": written, **asdict(how), "scenes": list(scenes)}
    path = run.workdir / RESULTS
    if not again and path.is_file():
        stored = read_json(path)
        if stored.get("of") == of:
            return stored
    results = {"of": of, **evaluate()}
    write_atomically(path, json.dumps(results, indent=1) + "\n")
    return results
