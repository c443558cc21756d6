"""Make the pictures and the report of a run again, or draw a sequence or features alone.

    python experiments/visualize.py --workdir runs/demo
    python experiments/visualize.py --workdir runs/demo --sequence sequences/000000.npz
    python experiments/visualize.py --workdir runs/demo --features features.npz

A sequence is a file that experiments/make_sequences.py wrote; a features file holds `points`
[n, 3] and `features` [n, c]. With --hero both are drawn as one picture.
"""

import argparse
from pathlib import Path

from fourdc_jax.files import read_json
from fourdc_jax.train import command
from fourdc_jax.viz.page import Picture, write_page
from fourdc_jax.viz.pictures.features import draw_features
from fourdc_jax.viz.pictures.hero import draw_hero
from fourdc_jax.viz.pictures.saved import load_arrays, load_sequence
from fourdc_jax.viz.pictures.sequence import draw_sequence
from fourdc_jax.viz.plots.curves import collect_curves, draw_curves, read_metrics

CAPTION = "The object's colour is the time, yellow to red; numbered tracks follow single points."


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--workdir", required=True, type=Path, help="of the run; pictures go to its pictures/")
    add(
        "--sequence",
        type=lambda text: text.split(","),
        default=[],
        metavar="FILE[,FILE]",
        help=".npz files of make_sequences.py",
    )
    add("--features", type=Path, help=".npz with points [n, 3] and features [n, c]")
    add("--hero", type=Path, help="file for sequence and features in one picture")


def main(args: argparse.Namespace) -> None:
    """Draws what there is, and the page that shows it."""
    workdir = args.workdir.expanduser()
    if not workdir.is_dir():
        raise FileNotFoundError(f"--workdir {workdir} is no folder")
    if args.hero and not (args.sequence and args.features):
        raise ValueError("--hero needs --sequence and --features")
    folder = workdir / "pictures"
    history = read_metrics(workdir / "metrics.jsonl")
    sequences = [load_sequence(Path(file)) for file in args.sequence]
    scan = load_arrays(args.features, ["points", "features"]) if args.features else {}
    pictures = [Picture(draw_curves(history, folder / "curves.png"), "Training")]
    for file, (title, *sequence) in zip(args.sequence, sequences, strict=True):
        path = draw_sequence(*sequence, folder / f"sequence_{Path(file).stem}.png", title=title)
        pictures.append(Picture(path, f"Sequence {Path(file).stem}", CAPTION))
    if scan:
        path = draw_features(scan["points"], scan["features"], folder / "features.png")
        pictures.append(Picture(path, "Learned features", "Main directions (PCA) as colours."))
    if args.hero:
        draw_hero(*sequences[0][1:], scan["points"], scan["features"], args.hero)
    summary = {name: values[-1] for name, (_, values) in collect_curves(history).items()}
    config = workdir / "config.json"
    page = write_page(
        workdir,
        title=f"Run {workdir.resolve().name}",
        summary=summary,
        pictures=pictures,
        config=read_json(config) if config.is_file() else None,
    )
    print(f"wrote {page}")


if __name__ == "__main__":
    command.run(main, __doc__, add_flags)
