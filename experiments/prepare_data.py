"""Convert a dataset once into a compact cache that loads in milliseconds.

    python experiments/prepare_data.py --kind scans --source <ScanNet>/scans --out cache/scans \
        --split-file scannetv2_train.txt
    python experiments/prepare_data.py --kind shapes --source <ModelNet40> --out cache/shapes \
        --split train --categories chair desk dresser night_stand sofa table bathtub toilet

Then train with `--config.data.scans=cache/scans --config.data.shapes=cache/shapes`. Interrupted, it
continues where it stopped when run again. Files that cannot be read are listed at the end and in
the manifest; the rest is converted. Exit status: 0 all converted, 1 nothing could be done, 2 some
files failed.
"""

import argparse
import logging
import os
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

from tqdm import tqdm

from fourdc_jax.data.sources.prepare import prepare
from fourdc_jax.data.sources.source import Source, open_scans, open_shapes
from fourdc_jax.train import command
from fourdc_jax.train.command_line import at_least, positive

# The arguments that say where the items came from, without changing how one is read.
ORIGIN = ("source", "split_file", "split", "categories", "limit")


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--kind", required=True, choices=("scans", "shapes"))
    add("--source", required=True, help="folder, file or procedural:N")
    add("--out", required=True, type=Path, help="the cache's folder")
    add("--split-file", default="", help="names to convert, one a line")
    add(
        "--workers",
        type=at_least(0),
        default=os.cpu_count() or 1,
        help="processes; 0: this one",
    )
    add("--limit", type=at_least(0), default=0, help="convert the first so many only")
    add("--seed", type=int, default=0, help="of surface samples and procedural items")
    scans = parser.add_argument_group("scans")
    scans.add_argument("--no-align", action="store_true", help="ignore ScanNet's axisAlignment")
    scans.add_argument("--scale", type=positive, default=1.0, help="file unit in metres")
    scans.add_argument("--min-points", type=at_least(1), default=1000)
    scans.add_argument("--label-table", nargs="*", default=[], help="ScanNet's .tsv tables")
    shapes = parser.add_argument_group("shapes")
    shapes.add_argument(
        "--num-points", type=at_least(1), default=4096, help="sampled on each surface"
    )
    shapes.add_argument("--categories", nargs="*", default=[], help="default: all")
    shapes.add_argument("--split", default="", choices=("", "train", "val", "test"))
    shapes.add_argument("--up", default="auto", choices=("auto", "y", "z"))


def open_source(args: argparse.Namespace) -> tuple[Source, dict]:
    """The source that the command line names, and the options that decide how an item is read."""
    if args.kind == "scans":
        options = {
            "align_axes": not args.no_align,
            "scale": args.scale,
            "min_points": args.min_points,
            "label_tables": args.label_table,
        }
        source = open_scans(args.source, split_file=args.split_file, seed=args.seed, **options)
    else:
        options = {"num_points": args.num_points, "up": args.up, "seed": args.seed}
        source = open_shapes(
            args.source,
            split_file=args.split_file,
            categories=args.categories,
            split=args.split,
            **options,
        )
    if args.limit:
        source = Source(source.entries[: args.limit], source.failures)
    return source, options


def show_progress(outcomes: Iterable[dict], total: int, unit: str) -> Iterator[dict]:
    """Pass outcomes on behind a progress bar that counts the failures."""
    failed = 0
    with tqdm(outcomes, total=total, unit=unit) as bar:
        for outcome in bar:
            if "error" in outcome:
                failed += 1
                bar.set_postfix(failed=failed)
            yield outcome


def main(args: argparse.Namespace) -> int:
    """Prepare a cache and print what became of it."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    source, options = open_source(args)
    try:
        manifest = prepare(
            source,
            args.out,
            holds=args.kind,
            options=options,
            origin={key: getattr(args, key) for key in ORIGIN},
            workers=args.workers,
            progress=partial(show_progress, total=len(source), unit=args.kind[:-1]),
        )
    except BrokenProcessPool as error:
        raise ValueError(
            "a process was killed, by lack of memory? Run again with fewer --workers; it continues."
        ) from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt("run the same command to continue") from None
    print(
        f"{args.out}: {manifest['num_items']} {args.kind}, {manifest['num_points']:,} points, "
        f"{manifest['bytes'] / 2**20:.1f} MiB; {manifest['num_skipped']} were there already"
    )
    for failure in manifest["failures"]:
        command.tell(f"failed: {failure['name']}: {failure['error']}")
    return 2 if manifest["failures"] else 0


if __name__ == "__main__":
    command.run(main, __doc__, add_flags, less_memory="choose fewer --workers")
