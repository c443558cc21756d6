"""Label the points of scans with a trained network.

    python experiments/predict.py --task segmentation --checkpoint runs/segmentation \
        --input scan.ply --out labelled.ply
    python experiments/predict.py --task segmentation --checkpoint runs/segmentation \
        --input folder other.ply --out labelled/

An input is what `open_scans` takes: a file, or a folder of scans of any kind; z up. A single scan
becomes the file that --out names, several become files in that folder. Each is a .ply of the
scan's points in their order, in metres (georeferenced ones shifted to their middle), with the
colour of the class, `label` (its number; the header has the names) and `confidence` (its
probability), and a .png beside it. A scan of any size will do: one that does not fit into memory is
predicted in overlapping tiles.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from fourdc_jax.data.exports import write_labelled_ply
from fourdc_jax.data.label_sets import LabelSet
from fourdc_jax.data.scan import Scan
from fourdc_jax.data.sources.source import Source, open_scans
from fourdc_jax.tasks.segmentation.inference import load_predictor
from fourdc_jax.train import command
from fourdc_jax.train.command_line import at_least, positive
from fourdc_jax.viz.pictures.segmentation import LabelledScene, draw_segmentation, paint_classes

LEAST_POINTS = 4  # of a scan that has a picture
NAMED = 5  # classes in the line that tells of a scan


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--task", choices=("segmentation",), required=True)
    add("--checkpoint", type=Path, required=True, help="workdir of the run")
    add("--input", nargs="+", required=True, help="files or folders of scans")
    add("--out", type=Path, required=True, help=".ply file, or a folder for several scans")
    add("--which", default="best", choices=("best", "last"), help="checkpoint of the run")
    add("--rotations", type=at_least(1), default=1, help="turns about z whose mean is taken")
    add("--max-rows", type=at_least(1), help="voxels of a tile; by default what fits")
    add("--scale", type=positive, default=1.0, help="unit of the files in metres, 0.001 for mm")
    command.add_cache_flag(parser)


def open_inputs(specs: list[str], scale: float) -> tuple[list[tuple[str, Source, int]], list[str]]:
    """(name, source, index) of every scan, and what is wrong with the inputs that have none.

    Axes are not aligned: the points stay where the file has them.
    """
    scans, failures = [], []
    for spec in specs:
        try:
            options = {"scale": scale, "min_points": LEAST_POINTS, "align_axes": False}
            source = open_scans(spec, **options)
        except (ValueError, OSError) as error:
            failures.append(str(error))
            continue
        scans += [(name, source, index) for index, name in enumerate(source.names)]
        failures += source.failures.values()
    return scans, failures


def choose_paths(names: list[str], out: Path) -> list[Path]:
    """Where each scan's .ply goes: `out` itself for a single scan, else files in that folder.

    Raises:
      ValueError: a file for several scans, or two scans of one name.
    """
    if out.suffix.lower() == ".ply":
        if len(names) > 1:
            raise ValueError(f"--out {out} is one file for {len(names)} scans: name a folder")
        return [out]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"several inputs have a scan {twice[0]!r}: predict them in turns")
    return [out / f"{name}.ply" for name in names]


def write_prediction(scan: Scan, probabilities: np.ndarray, classes: LabelSet, path: Path) -> str:
    """Writes the cloud and its picture; returns the commonest classes as text."""
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


def main(args: argparse.Namespace) -> int:
    """Predict every scan that can be read; tell at the end of those that cannot."""
    command.enable_cache(args)
    options = {"max_rows": args.max_rows, "rotations": args.rotations}
    predictor = load_predictor(args.checkpoint, which=args.which, **options)
    scans, failures = open_inputs(args.input, args.scale)
    paths = choose_paths([name for name, *_ in scans], args.out)
    for (name, source, index), path in zip(scans, paths):
        start = time.monotonic()
        try:
            scan = source[index]
            found = write_prediction(scan, predictor.predict(scan), predictor.classes, path)
        except Exception as error:
            sentence = command.explain(error, "lower --max-rows")
            if sentence is None:
                raise
            failures.append(f"{name}: {sentence}")
        else:
            seconds = time.monotonic() - start
            print(f"{path}: {len(scan.points):,} points in {seconds:.1f} s: {found}", flush=True)
    for failure in failures:
        command.tell(f"error: {failure}")
    return bool(failures)


if __name__ == "__main__":
    command.run(main, __doc__, add_flags, less_memory="lower --max-rows")
