"""Compare runs of semantic segmentation on their validation scenes.

    python experiments/evaluate.py --workdirs runs/scratch runs/pretrained
    python experiments/evaluate.py --workdirs runs/a0 runs/a1 runs/b0 runs/b1 \
        --names scratch scratch pretrained pretrained --out comparison

Runs of one name and share of labels are the seeds of one method: mean and standard deviation.
Without --names a run is called "scratch" or "pre-trained", after its `config.init`. Every workdir
gets results.json, which is read instead of evaluating the same checkpoint again. The folder --out
(by default `evaluation` in the first workdir) gets tables.md (the paper's Table 3, and IoU by
class), scenes.png (its Figure 4), a confusion matrix of each method, where runs saw different
shares of the labels label_efficiency.png (its Figure 6), and report.html with all of them.

Scores are on voxels, as the papers count: a voxel whose points disagree has no class. A point has
the prediction of its voxel, the nearest one.
"""

import argparse
import functools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fourdc_jax.data.label_sets import LabelSet
from fourdc_jax.data.sources.labelled import LabelledScans
from fourdc_jax.results.runs import Run, evaluate, open_validation, read_run
from fourdc_jax.results.tables import (
    Group,
    check_seeds,
    format_classes,
    format_methods,
    group_runs,
    label_groups,
)
from fourdc_jax.tasks.segmentation.inference import load_predictor
from fourdc_jax.train import command
from fourdc_jax.train.command_line import at_least
from fourdc_jax.viz.page import Picture, write_page
from fourdc_jax.viz.pictures.segmentation import LabelledScene, draw_segmentation
from fourdc_jax.viz.plots.confusion import draw_confusion
from fourdc_jax.viz.plots.label_efficiency import draw_label_efficiency

TRUTH = "Ground truth"  # heading of its column


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--workdirs", nargs="+", type=Path, required=True, help="of finished runs")
    add("--names", nargs="+", help="of their methods, one a workdir")
    add("--out", type=Path, help="folder of tables and pictures")
    add("--which", default="best", choices=("best", "last"), help="checkpoint of the runs")
    add("--rotations", type=at_least(1), default=1, help="turns about z whose mean is taken")
    add("--max-rows", type=at_least(1), help="voxels of a tile; by default what fits")
    add("--scenes", type=at_least(0), default=3, help="validation scenes that are drawn")
    add("--again", action="store_true", help="evaluate even where results are stored")
    command.add_cache_flag(parser)


def read_runs(workdirs: Sequence[Path], names: Sequence[str] | None) -> list[Run]:
    """The runs, checked before any of them is evaluated.

    Raises:
      FileNotFoundError, ValueError: not a name each, a workdir twice, no runs of this task, or runs
        that cannot be compared.
    """
    if names is not None and len(names) != len(workdirs):
        raise ValueError(f"{len(names)} --names for {len(workdirs)} --workdirs: name each one")
    if len({path.resolve() for path in workdirs}) < len(workdirs):
        raise ValueError("a workdir is named twice: its run would count as two seeds")
    runs = [read_run(path, name) for path, name in zip(workdirs, names or [""] * len(workdirs))]
    if names is None:
        check_seeds(runs)
    return runs


def check_comparable(run: Run, first: Run, scenes: LabelledScans) -> None:
    """Raises ValueError where a run has other classes or validation scenes than the first one."""
    same_classes = run.record.classes.names == first.record.classes.names
    if not same_classes or open_validation(run).names != scenes.names:
        raise ValueError(
            f"{run.workdir} has other {'validation scenes' if same_classes else 'classes'} than "
            f"{first.workdir}: their scores do not compare"
        )


def choose_drawn(runs: Sequence[Run]) -> list[Run]:
    """The first run of every method, at the largest share of labels that any has."""
    most = max(run.percent for run in runs)
    drawn: dict[str, Run] = {}
    for run in runs:
        if run.percent == most:
            drawn.setdefault(run.name, run)
    return list(drawn.values())


def draw_pictures(
    groups: Sequence[Group], scenes: Sequence[LabelledScene], classes: LabelSet, out: Path
) -> list[Picture]:
    """Writes the scenes, the confusion matrices, and the curve where labels were limited."""
    pictures = []
    if scenes:
        drawn = draw_segmentation(scenes, classes.names, classes.colors, out / "scenes.png")
        pictures.append(Picture(drawn, "Scenes", "Validation scenes; grey has no annotation."))
    curves: dict[str, dict[float, list[float]]] = {}
    for group in groups:
        curves.setdefault(group.name, {})[group.percent] = group.scores("voxels", "miou").tolist()
    if len({group.percent for group in groups}) > 1:
        path = draw_label_efficiency(curves, out / "label_efficiency.png")
        caption = "mIoU on voxels: means, and one standard deviation over the seeds."
        pictures.append(Picture(path, "Limited labels", caption))
    for group, label in zip(groups, label_groups(groups)):
        file = f"confusion_{re.sub(r'[^0-9A-Za-z.]+', '_', label)}.png"
        matrix = group.confusion("voxels")
        path = draw_confusion(matrix, classes.names, out / file, title=f"{label}, voxels")
        pictures.append(Picture(path, f"Confusion of {label}"))
    return pictures


def main(args: argparse.Namespace) -> None:
    """Evaluates all runs, prints the tables and writes everything."""
    command.enable_cache(args)
    runs = read_runs(args.workdirs, args.names)
    out = args.out or args.workdirs[0] / "evaluation"
    scenes, classes = open_validation(runs[0]), runs[0].record.classes
    for run in runs[1:]:
        check_comparable(run, runs[0], scenes)
    options = {"which": args.which, "rotations": args.rotations, "max_rows": args.max_rows}
    shown = np.unique(np.linspace(0, len(scenes) - 1, min(args.scenes, len(scenes))).astype(int))
    columns = {int(index): {TRUTH: scenes[int(index)].labels} for index in shown}
    results, drawn = [], choose_drawn(runs)
    for run in runs:
        load = functools.cache(functools.partial(load_predictor, run.workdir, **options))
        progress = functools.partial(tqdm, desc=str(run.workdir), unit="scene")
        results.append(
            evaluate(run, scenes, load, options=options, again=args.again, progress=progress)
        )
        for index, labels in columns.items():
            if run in drawn:
                labels[run.name] = load().predict(scenes[index]).argmax(axis=1)
    groups = group_runs(runs, results)
    tables = f"{format_methods(groups)}\n\n{format_classes(groups, classes.names)}"
    print(f"{len(scenes)} validation scenes, percent, on voxels\n\n{tables}")
    out.mkdir(parents=True, exist_ok=True)
    (out / "tables.md").write_text(f"{tables}\n")
    labelled = [
        LabelledScene(scenes[index].name, scenes[index].points, labels)
        for index, labels in columns.items()
    ]
    page = write_page(
        out,
        title="Semantic segmentation",
        text=f"{len(scenes)} validation scenes, percent, on voxels\n\n{tables}",
        summary={
            f"mIoU (%), {label}": 100 * float(group.scores("voxels", "miou").mean())
            for label, group in zip(label_groups(groups), groups)
        },
        pictures=draw_pictures(groups, labelled, classes, out),
    )
    print(f"\nwrote {page}")


if __name__ == "__main__":
    command.run(main, __doc__, add_flags, less_memory="lower --max-rows")
