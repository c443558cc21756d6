"""Choose the tiles of the sparse convolutions on the GPU that is there, and write their table.

    python experiments/tune_kernels.py [--dry_run] [--dtype bfloat16 --seconds 1500]

Problems are the matrix products of all layers of whole networks at given numbers of voxels, each
once: Res16UNet34C with the 5^3 stem at 102400 and 1228800 voxels, MinkUNet14 in 4D (81 offsets) at
409600. `tile_search.py` says how a tile is found, here on the real maps of procedural rooms. Where
none is faster than the default by more than the noise, the default is written, so that the tile of
a neighbouring size is not taken for it.

The table is merged into kernels/sparse_conv/tiles.json after every layer: a run that is cut short
keeps its results, and the next one goes on with what is missing, unless `--again`.
"""

import argparse
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.costs import map_of
from benchmarks.flags import DTYPES
from benchmarks.products import products_of
from benchmarks.rooms import level_capacities, room_voxels, sequence_voxels
from benchmarks.tile_search import layers_to_tune, tune
from benchmarks.workloads import Network, make_network
from fourdc_jax.kernels.implementation import compute_capability
from fourdc_jax.kernels.sparse_conv import tile_table
from fourdc_jax.kernels.sparse_conv.tile_table import read_table, write_table

from fourdc_jax.train import command
from fourdc_jax.train.command_line import at_least, positive

ROOM_ROWS = 102_400


def add_flags(parser: argparse.ArgumentParser) -> None:
    add, several = parser.add_argument, {"nargs": "+", "action": "extend"}
    add("--network", choices=("3d", "4d"), **several, help="whose layers; default: both")
    add(
        "--rows",
        type=at_least(1),
        **several,
        help="voxels, of the 3D network; default: 102400 1228800",
    )
    add(
        "--sequence-rows",
        type=at_least(4),
        **several,
        help="voxels, of the 4D network; default: 409600",
    )
    add("--voxel", type=positive, default=0.02, help="metres")
    add("--dtype", choices=DTYPES, **several, help="of features; default: bfloat16")
    add("--rounds", type=at_least(1), default=5, help="timed rounds of each tile")
    add(
        "--seconds",
        type=float,
        default=float("inf"),
        help="stop with what was found after so long",
    )
    add("--again", action="store_true", help="also problems that the table holds")
    add("--dry-run", action="store_true", help="print the table's text, write nothing")


def main(args: argparse.Namespace) -> None:
    """Finds the tile of every problem that the table lacks."""
    architecture = compute_capability()
    if architecture is None:
        raise ValueError("tune_kernels times kernels: it needs a CUDA GPU, and JAX found none.")
    path = Path(tile_table.__file__).with_name(tile_table.FILE)
    table, deadline = read_table(path.read_text()), time.monotonic() + args.seconds
    done = set() if args.again else set(table)
    for network in networks(args):
        layers = layers_to_tune(network)
        for layer, dtype in itertools.product(layers, args.dtype or ["bfloat16"]):
            kernel_map = map_of(layer, network.pyramid)
            for product in products_of(layer, kernel_map, dtype, architecture):
                if product.problem not in done and time.monotonic() < deadline:
                    done.add(product.problem)
                    table[product.problem] = tune(product, kernel_map, rounds=args.rounds)
            if not args.dry_run:
                path.write_text(write_table(table))
    if time.monotonic() >= deadline:
        print(f"stopped after {args.seconds:.0f} s: run again for what is missing")
    print(write_table(table) if args.dry_run else f"{len(table)} tiles in {path}")


def networks(args: argparse.Namespace) -> Iterator[Network]:
    """Networks on their maps, smaller ones first."""
    names = args.network or ("3d", "4d")
    if "3d" in names:
        for rows in args.rows or (102_400, 1_228_800):
            coords = room_voxels(rows, args.voxel, rows_of_room=ROOM_ROWS)
            capacities = level_capacities(coords)
            yield make_network("Res16UNet34C", coords, capacities, stem_kernel_size=5)
    if "4d" in names:
        for rows in args.sequence_rows or (409_600,):
            coords = sequence_voxels(rows, args.voxel)
            yield make_network("MinkUNet14", coords, level_capacities(coords))


if __name__ == "__main__":
    command.run(main, __doc__, add_flags, less_memory="lower --rows")
