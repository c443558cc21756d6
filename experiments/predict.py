"""Label the points of scans with a trained network.

    python experiments/predict.py --checkpoint runs/segmentation --input scan.ply --out labelled.ply
    python experiments/predict.py --checkpoint runs/segmentation --input folder a.ply --out found/

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

from fourdc_jax.results.runs import Evaluated, read_run
from fourdc_jax.tasks.from_config import load_writer
from fourdc_jax.tasks.shared.prediction import choose_paths, open_inputs
from fourdc_jax.train import command
from fourdc_jax.train.command_line import at_least, positive

LESS_MEMORY = "lower --max-rows"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--checkpoint", type=Path, required=True, help="workdir of the run")
    add("--task", help="of the run, where you want to be sure of it")
    add("--input", nargs="+", required=True, help="files or folders of scans")
    add("--out", type=Path, required=True, help=".ply file, or a folder for several scans")
    add("--which", default="best", choices=("best", "last"), help="checkpoint of the run")
    add("--rotations", type=at_least(1), default=1, help="turns about z whose mean is taken")
    add("--max-rows", type=at_least(1), help="voxels of a tile; by default what fits")
    add("--scale", type=positive, default=1.0, help="unit of the files in metres, 0.001 for mm")
    command.add_cache_flag(parser)


def main(args: argparse.Namespace) -> int:
    """Predict every scan that can be read; tell at the end of those that cannot."""
    command.enable_cache(args)
    run = read_run(args.checkpoint.expanduser())
    if args.task not in (None, run.task):
        raise ValueError(f"{run.workdir} is a run of the task {run.task!r}, not of {args.task!r}")
    write = load_writer(run, Evaluated(args.which, args.rotations, args.max_rows))
    scans, failures = open_inputs(args.input, args.scale)
    paths = choose_paths([scan.name for scan in scans], args.out.expanduser())
    for scan, path in zip(scans, paths):
        start = time.monotonic()
        try:
            cloud = scan.read()
            found = write(cloud, path)
        except Exception as error:
            sentence = command.explain(error, LESS_MEMORY)
            if sentence is None:
                raise
            failures.append(f"{scan.name}: {sentence}")
        else:
            seconds = time.monotonic() - start
            print(f"{path}: {len(cloud.points):,} points in {seconds:.1f} s: {found}", flush=True)
    for failure in failures:
        command.tell(f"error: {failure}")
    return bool(failures)


if __name__ == "__main__":
    command.run(main, __doc__, add_flags, less_memory=LESS_MEMORY)
