"""What a finished fine-tuning run leaves to look at: scores, pictures and a page."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fourdc_jax.data.sources.labelled import LabelledScans
from fourdc_jax.tasks.segmentation.inference import BEST_METRIC, SceneInference
from fourdc_jax.viz.page import Picture, write_page
from fourdc_jax.viz.pictures.segmentation import LabelledScene, draw_segmentation
from fourdc_jax.viz.plots.validation_curves import draw_validation

SCENES_SHOWN = 2


def draw_report(
    inference: SceneInference,
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
    curves = draw_validation(history, folder / "curves.png")
    predict = partial(inference.predict, state.variables)
    scenes = [
        LabelledScene(
            scan.name,
            scan.points,
            {"Ground truth": scan.labels, "Prediction": np.argmax(predict(scan), axis=1)},
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
