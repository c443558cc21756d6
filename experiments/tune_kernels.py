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

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
from absl import app, flags
from benchmarks.costs import Layer, map_of, network_layers
from benchmarks.products import products_of
from benchmarks.rooms import level_capacities, room_voxels, sequence_voxels
from benchmarks.tile_search import tune
from benchmarks.workloads import IN_CHANNELS, Network, make_network
from fourdc_jax.kernels.implementation import compute_capability
from fourdc_jax.kernels.sparse_conv import tile_table
from fourdc_jax.kernels.sparse_conv.tile_table import read_table, write_table

NETWORKS = flags.DEFINE_multi_enum("network", ["3d", "4d"], ["3d", "4d"], "whose layers")
ROWS = flags.DEFINE_multi_integer("rows", [102_400, 1_228_800], "voxels, of the 3D network")
SEQUENCE_ROWS = flags.DEFINE_multi_integer("sequence_rows", [409_600], "voxels, of the 4D network")
VOXEL = flags.DEFINE_float("voxel", 0.02, "metres")
DTYPES = flags.DEFINE_multi_enum(
    "dtype", ["bfloat16"], ["bfloat16", "float16", "float32"], "of features"
)
ROUNDS = flags.DEFINE_integer("rounds", 5, "timed rounds of each tile", lower_bound=1)
SECONDS = flags.DEFINE_float("seconds", float("inf"), "stop with what was found after so long")
AGAIN = flags.DEFINE_bool("again", False, "also problems that the table holds")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "print the table's text, write nothing")

ROOM_ROWS = 102_400


def main(_: list[str]) -> None:
    architecture = compute_capability()
    if architecture is None:
        raise SystemExit("tune_kernels.py times kernels: it needs a CUDA GPU, and JAX found none.")
    path = Path(tile_table.__file__).with_name(tile_table.FILE)
    table, deadline = read_table(path.read_text()), time.monotonic() + SECONDS.value
    done = set() if AGAIN.value else set(table)
    for network in networks():
        layers = {layer._replace(name=_role(layer)) for layer in sparse_layers(network)}
        for layer, dtype in itertools.product(sorted(layers), DTYPES.value):
            kernel_map = map_of(layer, network.pyramid)
            for product in products_of(layer, kernel_map, dtype, architecture):
                if product.problem not in done and time.monotonic() < deadline:
                    done.add(product.problem)
                    table[product.problem] = tune(product, kernel_map, rounds=ROUNDS.value)
            if not DRY_RUN.value:
                path.write_text(write_table(table))
    if time.monotonic() >= deadline:
        print(f"stopped after {SECONDS.value:.0f} s: run again for what is missing")
    print(write_table(table) if DRY_RUN.value else f"{len(table)} tiles in {path}")


def networks() -> Iterator[Network]:
    """Networks on their maps, smaller ones first."""
    if "3d" in NETWORKS.value:
        for rows in ROWS.value:
            coords = room_voxels(rows, VOXEL.value, rows_of_room=ROOM_ROWS)
            capacities = level_capacities(coords)
            yield make_network("Res16UNet34C", coords, capacities, stem_kernel_size=5)
    if "4d" in NETWORKS.value:
        for rows in SEQUENCE_ROWS.value:
            coords = sequence_voxels(rows, VOXEL.value)
            yield make_network("MinkUNet14", coords, level_capacities(coords))


def sparse_layers(network: Network) -> list[Layer]:
    x = jax.ShapeDtypeStruct((network.num_rows, IN_CHANNELS), jnp.float32)
    variables = jax.eval_shape(
        lambda x, pyramid: network.module.init(jax.random.key(0), x, pyramid, train=False),
        *(x, network.pyramid),
    )
    layers = network_layers(variables["params"], network.sizes)
    return [layer for layer in layers if layer.kind != "pointwise"]


def _role(layer: Layer) -> str:
    """Layers of one role and shape are one; the stem's input needs no gradient."""
    return "stem_conv" if layer.name == "stem_conv" else ""


if __name__ == "__main__":
    app.run(main)
