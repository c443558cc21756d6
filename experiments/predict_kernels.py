"""What the compiled kernels say about a network's training step without a GPU: a prediction.

    JAX_PLATFORMS=cpu python experiments/predict_kernels.py [--rows 102400 --rows 1228800]

Every convolution of Res16UNet34C is compiled for the architecture as it is for a user, with the
tile that would be chosen, and its kernels are read: registers, spills, shared memory, programs of a
multiprocessor, matrix instructions. Rows, existing pairs and what tiles compute beside existing
pairs are counted on the real maps of procedural rooms. Nothing here is measured on a GPU.

`kernel_times.py` says how a time is predicted. Everything else of a step (normalisation, optimiser,
maps) is added here by rule. `--gemm_rows` and `--gemm_warps` ask what other tiles would do.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import app, flags
from benchmarks.costs import Layer, map_of, network_layers
from benchmarks.kernel_times import Assumptions, TileCounts, times_of
from benchmarks.products import Product, compile_product, products_of
from benchmarks.rooms import level_capacities, room_voxels
from benchmarks.workloads import IN_CHANNELS, Network, make_network
from fourdc_jax.kernels.compiled import (
    CompiledKernel,
    Resources,
    assemble,
    launched_kernels,
    programs_per_multiprocessor,
)
from fourdc_jax.kernels.implementation import lowering_for
from fourdc_jax.kernels.sparse_conv.tile_table import Tile, choose_tile

ROWS = flags.DEFINE_multi_integer("rows", [102_400], "voxels; more than one room's are a batch")
ROOM = flags.DEFINE_integer("rows_of_room", 102_400, "voxels of each room at most")
VOXEL = flags.DEFINE_float("voxel", 0.02, "metres")
DTYPE = flags.DEFINE_enum("dtype", "bfloat16", ["bfloat16", "float16", "float32"], "of features")
NETWORK = flags.DEFINE_string("network", "Res16UNet34C", "name of the U-Net")
GEMM_ROWS = flags.DEFINE_integer("gemm_rows", None, "of every implicit GEMM's tile")
GEMM_WARPS = flags.DEFINE_integer("gemm_warps", None, "of every implicit GEMM's programs")
KERNELS = flags.DEFINE_bool("kernels", True, "print every kernel, not only the sums")

ARCHITECTURE = 90
SHORT = {"forward": "forward", "input gradient": "in.grad", "weight gradient": "w.grad"}
GOALS_MS = {"step at 100k": 2.5, "step at 1.2M": 25.0, "maps at 100k": 0.3}


class Compiled(NamedTuple):
    """A product, how it was compiled, and what it is predicted to take."""

    product: Product
    tile: Tile
    kernel: CompiledKernel
    resources: Resources
    redundancy: float  # (row, offset) places that tiles compute, over existing pairs
    times: dict[str, float]  # seconds

    @property
    def seconds(self) -> float:
        return Assumptions().launch + max(self.times.values())


def main(_: list[str]) -> None:
    print("PREDICTED from compiled code and counts, not measured. " + str(Assumptions()))
    for rows in ROWS.value:
        predict(rows)
    print(f"\ngoals on an H200, milliseconds: {GOALS_MS}")


def predict(rows: int) -> None:
    """All tables of one size."""
    coords = room_voxels(rows, VOXEL.value, rows_of_room=ROOM.value)
    options = {"stem_kernel_size": 5, "dtype": jnp.dtype(DTYPE.value)}
    capacities = level_capacities(coords)
    network = make_network(NETWORK.value, coords, capacities, implementation="xla", **options)
    module = network.module.clone(implementation="triton")
    with lowering_for(ARCHITECTURE):
        build = jax.jit(lambda coords: module.build_pyramid(coords, jnp.int32(rows), capacities))
        traced = build.trace(jax.ShapeDtypeStruct(coords.shape, jnp.int32))
        abstract = jax.eval_shape(build, jax.ShapeDtypeStruct(coords.shape, jnp.int32))
        maps = traced.lower(lowering_platforms=("cuda",))
    x = jax.ShapeDtypeStruct((rows, IN_CHANNELS), jnp.float32)
    params = jax.eval_shape(
        lambda x, pyramid: network.module.init(jax.random.key(0), x, pyramid, train=False),
        *(x, network.pyramid),
    )["params"]
    layers = network_layers(params, network.sizes)
    sizes = network.sizes
    print(
        f"\n{NETWORK.value}, {DTYPE.value}, sm_{ARCHITECTURE}, maps of procedural rooms: levels "
        f"{list(sizes.rows)},\nneighbours "
        f"{[round(pairs / count, 1) for count, pairs in zip(sizes.rows, sizes.pairs)]}, of the "
        f"5^3 stem {sizes.stem_pairs / rows:.1f}"
    )
    groups = defaultdict(list)
    for layer in layers:
        if layer.kind != "pointwise":
            groups[layer._replace(name="stem_conv" if layer.name == "stem_conv" else "")].append(
                layer
            )
    counted = TileCounts(network)
    if KERNELS.value:
        print(
            "layer (times)          product tile           regs sp KiB /SM wgmma m64 redund. "
            "GFLOP matrix memory    L2 latency us"
        )
    totals, seconds = defaultdict(float), 0.0
    for layer, same in groups.items():
        for compiled in compile_layer(layer, abstract, counted):
            seconds += len(same) * compiled.seconds
            totals[compiled.product.direction] += len(same) * compiled.seconds
            limit = max(compiled.times, key=compiled.times.get)
            totals[f"limited by {limit}"] += len(same) * compiled.seconds
            if KERNELS.value:
                print(line_of(compiled, len(same)))
    operations = sum(layer.operations for layer in layers) / 1e9
    print(
        f"  a forward pass has {operations:.1f} GFLOP on existing pairs, a step three times these"
    )
    for name, total in sorted(totals.items()):
        print(f"  {name:28s}{1e3 * total:8.3f} ms")
    others = other_seconds(layers, params, network)
    others["maps"] = map_seconds(maps, network)
    print(f"  {'convolutions':28s}{1e3 * seconds:8.3f} ms")
    for name, other in others.items():
        print(f"  {name:28s}{1e3 * other:8.3f} ms")
    total = seconds + sum(others.values())
    print(f"  {'training step, PREDICTED':28s}{1e3 * total:8.3f} ms")


def compile_layer(layer: Layer, pyramid: Any, counted: TileCounts) -> Iterator[Compiled]:
    """The products of a layer, compiled for the architecture."""
    kernel_map = map_of(layer, pyramid)
    for product in products_of(layer, kernel_map, DTYPE.value, ARCHITECTURE):
        tile = choose_tile(product.problem)
        if product.problem.operation == "gemm":
            rows, warps = GEMM_ROWS.value or tile.rows, GEMM_WARPS.value or tile.warps
            tile = tile._replace(rows=rows, warps=warps)
        kernel = compile_product(product, tile, kernel_map)
        resources = assemble(kernel)
        redundancy = counted.redundancy(product, tile)
        times = times_of(product, tile, kernel, resources, redundancy)
        yield Compiled(product, tile, kernel, resources, redundancy, times)


def line_of(compiled: Compiled, count: int) -> str:
    product, kernel, tile = compiled.product, compiled.kernel, compiled.tile
    layer = product.layer
    name = f"{layer.kind[:6]} L{layer.level} {layer.c_in}>{layer.c_out} ({count})"
    sizes = f"{tile.rows}x{tile.channels}w{tile.warps}s{tile.stages}/{tile.splits}"
    per_sm = programs_per_multiprocessor(kernel, compiled.resources)
    widths = re.findall(r"wgmma m64(n\d+)", " ".join(sorted(kernel.matrix_shapes)))
    shapes = "+".join(widths) or ("mma" if kernel.matrix_shapes else "none")
    microseconds = "".join(f"{1e6 * seconds:7.1f}" for seconds in compiled.times.values())
    return (
        f"{name:22s} {SHORT[product.direction]:7s} {sizes:14s}"
        f"{compiled.resources.registers:4d}{compiled.resources.spilled:3d}"
        f"{kernel.shared_memory / 1024:4.0f}{per_sm:4d} {shapes:9s}{compiled.redundancy:7.2f}"
        f"{product.layer.operations / 1e9:7.2f}{microseconds}"
    )


def other_seconds(layers: list[Layer], params: Any, network: Network) -> dict[str, float]:
    """Of a step beside sparse convolutions and maps, by rule."""
    rates, itemsize = Assumptions(), jnp.dtype(DTYPE.value).itemsize
    half = DTYPE.value != "float32"
    rate = rates.half_rate if half else rates.float32_rate
    pointwise = [layer for layer in layers if layer.kind == "pointwise"]
    products = sum(layer.step(itemsize).roofline(rate, rates.memory) for layer in pointwise)
    normalised = [layer for layer in layers if layer.name != "final"]
    activations = sum(layer.outputs * layer.c_out for layer in normalised) * itemsize
    num_params = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    launches = rates.normalisation_launches * len(normalised) * rates.launch
    return {
        "pointwise products": products + 3 * len(pointwise) * rates.launch,
        "normalise, activate, add": rates.passes * activations / rates.memory + launches,
        # Read parameter, momentum and gradient, write the first two; cast and read the cast.
        "optimiser, casts": num_params * (5 * 4 + half * 8) / rates.memory,
    }


def map_seconds(lowered: Any, network: Network) -> float:
    """Kernels of the maps by their bytes, and the sectors that probes read at random; sorts."""
    rates = Assumptions()
    launched = launched_kernels(lowered)
    seconds = sum(rates.launch + kernel.bytes / rates.memory for kernel in launched)
    volumes = [62, *[13] * 5]  # half of the stem's offsets, and of each level's
    rows = [network.sizes.rows[0], *network.sizes.rows]
    probes = sum(volume * count for volume, count in zip(volumes, rows))
    sorts = lowered.as_text().count("stablehlo.sort")
    print(f"  maps: {len(launched)} kernels, {sorts} sorts, {probes / 1e6:.1f}M lookups")
    return seconds + probes * 2 * 32 / rates.cache + sorts * rates.sort


if __name__ == "__main__":
    app.run(main)
