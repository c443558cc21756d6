"""A network's training step on a GPU that is not there, predicted from its compiled kernels.

Every convolution's kernels are compiled and read, see `kernel_times.py`; everything else of a step
(normalisation, optimiser, maps) is added by rule.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
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

from fourdc_jax.sparse.execution import Execution

ARCHITECTURE = 90
SHORT = {"forward": "forward", "input gradient": "in.grad", "weight gradient": "w.grad"}


class Question(NamedTuple):
    """Which network at which size, and with which tiles.

    Attributes:
      network: name of the U-Net.
      dtype: of features.
      rows: voxels; more than one room's are a batch.
      rows_of_room: voxels of each room at most.
      voxel: metres.
      gemm_rows, gemm_warps: of every implicit GEMM's tile; None for what would be chosen.
    """

    network: str
    dtype: str
    rows: int
    rows_of_room: int
    voxel: float
    gemm_rows: int | None
    gemm_warps: int | None


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


def predict_step(question: Question, *, print_kernels: bool) -> None:
    """Prints what every kernel and the whole step are predicted to take."""
    network, params, pyramid, maps = trace_network(question)
    layers = network_layers(params, network.sizes)
    sizes = network.sizes
    print(
        f"\n{question.network}, {question.dtype}, sm_{ARCHITECTURE}, maps of procedural rooms: "
        f"levels {list(sizes.rows)},\nneighbours "
        f"{[round(pairs / count, 1) for count, pairs in zip(sizes.rows, sizes.pairs)]}, of the "
        f"5^3 stem {sizes.stem_pairs / question.rows:.1f}"
    )
    groups = defaultdict(list)
    for layer in layers:
        if layer.kind != "pointwise":
            role = "stem_conv" if layer.name == "stem_conv" else ""
            groups[layer._replace(name=role)].append(layer)
    counted = TileCounts(network)
    if print_kernels:
        print(
            "layer (times)          product tile           regs sp KiB /SM wgmma m64 redund. "
            "GFLOP matrix memory    L2 latency us"
        )
    totals, seconds = defaultdict(float), 0.0
    for layer, same in groups.items():
        for compiled in compile_layer(layer, pyramid, counted, question):
            seconds += len(same) * compiled.seconds
            totals[compiled.product.direction] += len(same) * compiled.seconds
            limit = max(compiled.times, key=compiled.times.get)
            totals[f"limited by {limit}"] += len(same) * compiled.seconds
            if print_kernels:
                print(line_of(compiled, len(same)))
    operations = sum(layer.operations for layer in layers) / 1e9
    print(
        f"  a forward pass has {operations:.1f} GFLOP on existing pairs, a step three times these"
    )
    for name, total in sorted(totals.items()):
        print(f"  {name:28s}{1e3 * total:8.3f} ms")
    others = other_seconds(layers, params, question.dtype)
    others["maps"] = map_seconds(maps, network)
    print(f"  {'convolutions':28s}{1e3 * seconds:8.3f} ms")
    for name, other in others.items():
        print(f"  {name:28s}{1e3 * other:8.3f} ms")
    total = seconds + sum(others.values())
    print(f"  {'training step, PREDICTED':28s}{1e3 * total:8.3f} ms")


def trace_network(question: Question) -> tuple[Network, Any, Any, Any]:
    """The network on real maps, its parameters' shapes, the kernels' maps, and how they are made.

    The last two are abstract: shapes of the pyramid as the kernels use it, and its lowered program.
    """
    rows = question.rows
    coords = room_voxels(rows, question.voxel, rows_of_room=question.rows_of_room)
    execution = Execution(dtype=question.dtype, implementation="xla")
    capacities = level_capacities(coords)
    network = make_network(
        question.network, coords, capacities, stem_kernel_size=5, execution=execution
    )
    module = network.module.clone(execution=replace(execution, implementation="triton"))
    with lowering_for(ARCHITECTURE):
        build = jax.jit(lambda coords: module.build_pyramid(coords, jnp.int32(rows), capacities))
        traced = build.trace(jax.ShapeDtypeStruct(coords.shape, jnp.int32))
        pyramid = jax.eval_shape(build, jax.ShapeDtypeStruct(coords.shape, jnp.int32))
        maps = traced.lower(lowering_platforms=("cuda",))
    x = jax.ShapeDtypeStruct((rows, IN_CHANNELS), jnp.float32)
    params = jax.eval_shape(
        lambda x, pyramid: network.module.init(jax.random.key(0), x, pyramid, train=False),
        *(x, network.pyramid),
    )["params"]
    return network, params, pyramid, maps


def compile_layer(
    layer: Layer, pyramid: Any, counted: TileCounts, question: Question
) -> Iterator[Compiled]:
    """The products of a layer, compiled for the architecture."""
    kernel_map = map_of(layer, pyramid)
    for product in products_of(layer, kernel_map, question.dtype, ARCHITECTURE):
        tile = choose_tile(product.problem)
        if product.problem.operation == "gemm":
            rows, warps = question.gemm_rows or tile.rows, question.gemm_warps or tile.warps
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


def other_seconds(layers: list[Layer], params: Any, dtype: str) -> dict[str, float]:
    """Of a step beside sparse convolutions and maps, by rule."""
    rates, itemsize = Assumptions(), jnp.dtype(dtype).itemsize
    half = dtype != "float32"
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
