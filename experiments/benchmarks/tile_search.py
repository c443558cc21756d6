"""The search for a faster tile of one matrix product, on the device that is there.

The tile is changed one attribute after another; the fastest of each attribute's values is kept. A
tile that does not compile, needs more shared memory than there is, spills registers or disagrees
with the default tile's result is skipped and named.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from benchmarks.costs import Layer, Map, network_layers
from benchmarks.products import Product, compile_product, run_product, shapes_of
from benchmarks.timing import Program, compile_calls, number_of_sets, time_programs
from benchmarks.workloads import IN_CHANNELS, Network, random_rows
from fourdc_jax.kernels.compiled import LARGEST_SHARED_MEMORY, assemble
from fourdc_jax.kernels.sparse_conv.tile_table import Problem, Tile, contracted_chunk, default_tile
from jaxtyping import Array

Implementation = Literal["triton", "interpret"]

MOST_SETS = 4
NOISE = 0.03  # a tile must be faster than the default by more
ROUND_SECONDS = 0.01
TOLERANCE = {"bfloat16": 2e-2, "float16": 4e-3, "float32": 1e-4}  # of the largest value


def layers_to_tune(network: Network) -> list[Layer]:
    """The sparse convolutions of a network, each shape once; the stem's input needs no gradient."""
    x = jax.ShapeDtypeStruct((network.num_rows, IN_CHANNELS), jnp.float32)
    variables = jax.eval_shape(
        lambda x, pyramid: network.module.init(jax.random.key(0), x, pyramid, train=False),
        *(x, network.pyramid),
    )
    layers = network_layers(variables["params"], network.sizes)
    return sorted(
        {
            layer._replace(name="stem_conv" if layer.name == "stem_conv" else "")
            for layer in layers
            if layer.kind != "pointwise"
        }
    )


def tune(
    product: Product, kernel_map: Map, *, rounds: int, implementation: Implementation = "triton"
) -> Tile:
    """The fastest tile of those tried, one attribute after another, in so many timed rounds."""
    problem = product.problem
    default = default_tile(problem)
    trial = Trial(product, kernel_map, default, implementation)
    best, seconds = default, {}
    for attribute, values in attribute_values(problem, default).items():
        tiles = {best._replace(**{attribute: value}) for value in values} - {best}
        usable = [tile for tile in sorted(tiles) if trial.prepare(tile)]
        if usable:
            seconds = trial.time(sorted({default, best, *usable}), rounds)
            best = min(seconds, key=lambda tile: (seconds[tile], tile))
    gain = seconds[default] / seconds[best] if seconds else 1.0
    chosen = best if gain > 1 + NOISE else default
    print(
        f"{problem.operation} {problem.dtype} {problem.volume} offsets {problem.c_in}>"
        f"{problem.c_out}, 2^{problem.log2_rows} rows: {tuple(chosen)}, "
        f"{gain:.2f} x the default {tuple(default)}"
    )
    return chosen


def attribute_values(problem: Problem, default: Tile) -> dict[str, tuple[int, ...]]:
    """Values to try of every attribute, in the order in which they are settled."""
    widths = tuple(width for width in (64, 128, 256) if width < 2 * problem.c_out)
    splits = tuple(max(1, default.splits * factor // 4) for factor in (1, 2, 4, 8, 16))
    if problem.operation == "gemm":
        chunks = (contracted_chunk(problem.c_in, largest) for largest in (32, 64, 128))
        return {
            "rows": (64, 128, 256),
            "warps": (4, 8),
            "channels": tuple(sorted(set(chunks))),
            "columns": widths,
            "stages": (2, 3, 4, 5),
            "splits": tuple(parts for parts in (1, 2, 3, 4, 6, 8, 12) if parts <= problem.volume),
        }
    if problem.operation == "weight_gradient":
        return {
            "rows": (32, 64, 128),
            "channels": tuple(size for size in (32, 64, 128) if size < 2 * problem.c_in),
            "columns": widths,
            "warps": (4, 8),
            "stages": (2, 3, 4, 5),
            "splits": splits,
        }
    sizes = {"rows": (32, 64, 128), "channels": (32, 64, 128), "warps": (4, 8)}
    if problem.operation == "narrow_weight_gradient":
        sizes["splits"] = splits
    return sizes | {"stages": (2, 3, 4)}


class Trial:
    """Tiles of one product on the same inputs, each compared with the default's result."""

    def __init__(
        self, product: Product, kernel_map: Map, default: Tile, implementation: Implementation
    ):
        self.product, self.kernel_map = product, kernel_map
        self.implementation = implementation
        shapes = shapes_of(product)
        used_rows = (product.layer.inputs, None, product.layer.outputs)
        num_bytes = sum(shape.size * shape.dtype.itemsize for shape in shapes)
        self.sets = []
        for seed in range(min(MOST_SETS, number_of_sets(num_bytes))):
            keys = jax.random.split(jax.random.key(seed), 3)
            self.sets.append((*map(random_rows, keys, used_rows, shapes), kernel_map))
        self.expected = self._run(default)
        self.programs = {default: self._compile(default)}

    def prepare(self, tile: Tile) -> bool:
        """Whether the tile can be used; if not, the reason is printed."""
        if tile not in self.programs:
            if reason := self._reason_against(tile):
                print(f"  {tuple(tile)} skipped: {reason}")
                return False
            self.programs[tile] = self._compile(tile)
        return True

    def time(self, tiles: list[Tile], rounds: int) -> dict[Tile, float]:
        """Median seconds of each tile, all in turns."""
        programs = {tile: self.programs[tile] for tile in tiles}
        return time_programs(programs, rounds, least_seconds=ROUND_SECONDS)

    def _reason_against(self, tile: Tile) -> str:
        problem = self.product.problem
        try:
            kernel = compile_product(self.product, tile, self.kernel_map)
            limit = LARGEST_SHARED_MEMORY[problem.architecture]
            if kernel.shared_memory > limit:
                return f"{kernel.shared_memory} bytes of shared memory, there are {limit}"
            if spilled := assemble(kernel).spilled:
                return f"{spilled} bytes of registers spilled"
            difference = float(jnp.abs(self._run(tile) - self.expected).max())
        except Exception as error:  # compiler and driver fail in their own ways
            return f"does not compile or run: {str(error)[:80]!r}"
        most = TOLERANCE[problem.dtype] * float(jnp.abs(self.expected).max())
        if not difference <= most:
            return f"differs from the default by {difference:.3g}, more than {most:.3g}"
        return ""

    def _call(self, tile: Tile) -> Callable[..., Any]:
        return partial(run_product, self.product, tile, implementation=self.implementation)

    def _compile(self, tile: Tile) -> Program:
        return compile_calls(self._call(tile), self.sets)

    def _run(self, tile: Tile) -> Array:
        return jax.jit(self._call(tile))(*self.sets[0]).astype(jnp.float32)
