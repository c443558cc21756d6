"""What is left to look at: of a finished run, of runs side by side, and of a predicted scan."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from fourdc_jax.data.exports import write_labelled_ply
from fourdc_jax.data.label_sets import LabelSet
from fourdc_jax.data.scan import Scan
from fourdc_jax.data.sources.labelled import LabelledScans
from fourdc_jax.results import paper
from fourdc_jax.results.runs import Evaluated, Run, stored_results
from fourdc_jax.results.tables import (
    Column,
    Group,
    choose_drawn,
    format_classes,
    format_methods,
    group_runs,
    label_groups,
)
from fourdc_jax.tasks.segmentation.inference import (
    BEST_METRIC,
    Inference,
    load_predictor,
)
from fourdc_jax.tasks.segmentation.scores import evaluate_run, open_shared_validation
from fourdc_jax.tasks.shared.comparison import Comparison, Progress
from fourdc_jax.viz.page import Picture, write_page
from fourdc_jax.viz.pictures.segmentation import LabelledScene, draw_segmentation, paint_classes
from fourdc_jax.viz.plots.confusion import draw_confusion
from fourdc_jax.viz.plots.label_efficiency import draw_label_efficiency
from fourdc_jax.viz.plots.validation import draw_validation

SCENES_SHOWN = 2  # of a finished run
NAMED = 5  # classes in the line that tells of a predicted scan
TRUTH = "Ground truth"  # heading of its column
COLUMNS = (
    Column("mIoU", "voxels", "miou", gain=True),
    Column("mAcc", "voxels", "macc", gain=True),
    Column("mIoU, points", "points", "miou"),
    Column("mAcc, points", "points", "macc"),
)


def draw_report(
    inference: Inference,
    scans: LabelledScans,
    config: Mapping[str, Any],
    workdir: Path,
    state: Any,
    history: Sequence[Mapping[str, Any]],
) -> None:
    """Prints the validation scores; writes pictures/ and report.html: curves and some scenes.

    Args:
      inference: how the network is run.
      scans: of validation; the first ones are shown.
      config: plain values, shown on the page.
      workdir: of the run.
      state: with `variables`, as training left it.
      history: the lines of metrics.jsonl.
    """
    measured = [line for line in history if line.get(BEST_METRIC) is not None]
    if not measured:
        print("no validation finished: experiments/evaluate.py --which=last scores the run")
        return
    best, last = max(measured, key=lambda line: line[BEST_METRIC]), measured[-1]
    text = "\n".join([describe("best", best), describe("last", last)])
    print(text, flush=True)
    folder, classes = workdir / "pictures", inference.record.classes
    curves = draw_validation(
        history,
        folder / "curves.png",
        losses=("loss",),
        scores=("val_miou", "val_macc", "val_overall"),
    )
    predict = partial(inference.predict, state.variables)
    scenes = [
        LabelledScene(
            scan.name,
            scan.points,
            {TRUTH: scan.labels, "Prediction": np.argmax(predict(scan), axis=1)},
        )
        for scan in (scans[index] for index in range(min(SCENES_SHOWN, len(scans))))
    ]
    picture = draw_segmentation(scenes, classes.names, classes.colors, folder / "scenes.png")
    write_page(
        workdir,
        title="Semantic segmentation",
        pictures=[
            Picture(curves, "Training"),
            Picture(picture, "Validation scenes", "Predictions after the last step."),
        ],
        summary={f"best {name}": value for name, value in best.items()},
        config=config,
        text=text,
    )


def describe(which: str, line: Mapping[str, Any]) -> str:
    """One line of scores in percent."""
    shares = {
        "mIoU": (line["val_miou"], line["val_miou_points"]),
        "mAcc": (line["val_macc"], line["val_macc_points"]),
    }
    parts = [f"{name} {100 * on[0]:.1f} (points {100 * on[1]:.1f})" for name, on in shares.items()]
    return f"validation, {which} (step {line['step']}): {', '.join(parts)}"


def compare_runs(
    runs: Sequence[Run],
    out: Path,
    how: Evaluated,
    *,
    num_drawn: int,
    again: bool,
    progress: Progress = lambda scenes, run: iter(scenes),
) -> Comparison:
    """Evaluates all runs and draws them beside each other.

    Args:
      runs: the first of a share of labels is what the others gain over.
      out: folder of the pictures; it is made.
      how: what of the runs is evaluated, and how.
      num_drawn: validation scenes that are drawn.
      again: evaluate even where results are stored.
      progress: shows how far it is while a run's scenes go through it.

    Raises:
      FileNotFoundError, ValueError: a workdir that is none of this task, or other classes or
        validation scenes than the first one's.
    """
    validation = open_shared_validation(runs)
    scenes, classes = validation.scenes, validation.record.classes
    shown = np.unique(np.linspace(0, len(scenes) - 1, min(num_drawn, len(scenes))).astype(int))
    columns = {int(index): {TRUTH: scenes[int(index)].labels} for index in shown}
    results, drawn = [], choose_drawn(runs)
    for run in runs:
        predictor = cache(partial(load_predictor, run.workdir, **asdict(how)))
        score = partial(evaluate_run, run, validation, predictor, progress)
        results.append(
            stored_results(run, scenes.names, how, score, best_metric=BEST_METRIC, again=again)
        )
        for index, labels in columns.items():
            if run in drawn:
                labels[run.name] = predictor().predict(scenes[index]).argmax(axis=1)
    groups = group_runs(runs, results)
    labelled = [
        LabelledScene(scenes[index].name, scenes[index].points, labels)
        for index, labels in columns.items()
    ]
    out.mkdir(parents=True, exist_ok=True)
    return Comparison(
        title="Semantic segmentation",
        head=f"{len(scenes)} validation scenes, percent, on voxels",
        tables=format_tables(groups, classes, scenes.names),
        summary={
            f"mIoU (%), {label}": 100 * float(group.scores("voxels", "miou").mean())
            for label, group in zip(label_groups(groups), groups)
        },
        pictures=tuple(draw_comparison(groups, labelled, classes, out)),
    )


def format_tables(groups: Sequence[Group], classes: LabelSet, scenes: Sequence[str]) -> str:
    """The methods, beside the paper's where the scenes are its own, and the classes."""
    percents = {group.percent for group in groups}
    published = paper.comparable(paper.SEGMENTATION, scenes, percents)
    methods = format_methods(groups, COLUMNS, published)
    return f"{methods}\n\n{format_classes(groups, classes.names)}"


def draw_comparison(
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


def predict_and_write(
    predict: Callable[[Scan], np.ndarray], classes: LabelSet, scan: Scan, path: Path
) -> str:
    """Predicts a scan and writes it, see `write_prediction`."""
    return write_prediction(scan, predict(scan), classes, path)


def write_prediction(
    scan: Scan, probabilities: Float32[np.ndarray, "n classes"], classes: LabelSet, path: Path
) -> str:
    """Writes the points with their classes as .ply and a picture beside it.

    Returns:
      The commonest classes in words, with their shares of the points.
    """
    labels = probabilities.argmax(axis=1)  # [n]
    write_labelled_ply(
        path,
        scan.points,
        paint_classes(labels, classes.colors),
        labels,
        probabilities.max(axis=1),
        classes.names,
    )
    scene = LabelledScene(scan.name, scan.points, {"Prediction": labels})
    draw_segmentation([scene], classes.names, classes.colors, path.with_suffix(".png"))
    shares = np.bincount(labels, minlength=len(classes)) / len(labels)
    commonest = np.argsort(-shares, kind="stable")[:NAMED]
    return ", ".join(f"{classes.names[c]} {shares[c]:.0%}" for c in commonest if shares[c] > 0)
