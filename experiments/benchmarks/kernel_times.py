"""Predicted times of the matrix products' kernels, from their tiles, their code and real maps.

The predicted time of a kernel is a launch plus the largest of four times:

    matrix   operations that its tiles compute (absent pairs of a tile and padded channels
             included) over the matrix units' rate, less where programs are fewer than SMs
    memory   compulsory bytes (costs.py; and float32 parts, written and read) over the bandwidth
    L2       bytes that programs load: gathered rows, the weights of every offset of every
             tile, indices; over the L2 cache's bandwidth
    latency  steps of a program one after another, for as many rounds as programs need

`Assumptions` holds the rates: datasheet peaks and the share of them that kernels with gathers are
assumed to reach.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from benchmarks.costs import Layer, map_of
from benchmarks.products import Product
from benchmarks.workloads import Network
from fourdc_jax.kernels.compiled import CompiledKernel, Resources, programs_per_multiprocessor
from fourdc_jax.kernels.kernel_map.offsets import kernel_offsets
from fourdc_jax.kernels.kernel_map.sort_keys import SortKey, strided_key, submanifold_key
from fourdc_jax.kernels.sparse_conv.tile_table import Tile, split_columns
from fourdc_jax.kernels.sparse_conv.triton_gemm import tail_of

MULTIPROCESSORS = 132


class Assumptions(NamedTuple):
    """Of an H200: datasheet peaks times the share that is assumed to be reached; seconds."""

    half_rate: float = 0.6 * 990e12  # dense bfloat16 or float16
    float32_rate: float = 0.6 * 67e12  # without tensor cores: products are exact
    memory: float = 0.8 * 4.8e12
    cache: float = 0.7 * 5.5e12  # what others have measured of Hopper's L2, not in the datasheet
    launch: float = 2e-6
    step: float = 0.5e-6  # of a program's pipelined loop, where nothing else limits it
    sort: float = 30e-6  # a radix sort of one key array, beside its bytes
    passes: int = 8  # over each normalised activation, forward and backward
    normalisation_launches: int = 4


class TileCounts:
    """How many (tile, offset) a GEMM computes on the maps of a network, by counting."""

    def __init__(self, network: Network):
        self.network, self.counts = network, {}

    def redundancy(self, product: Product, tile: Tile) -> float:
        """Computed (row, offset) places over existing pairs."""
        layer, operation = product.layer, product.problem.operation
        if operation == "weight_gradient":
            return 1.0
        if operation != "gemm":
            return layer.outputs * layer.volume / layer.pairs
        coarse = (layer.kind == "strided") == (product.direction == "forward")
        key = (layer.name, layer.kind, layer.level, coarse, tile.rows)
        if key not in self.counts:
            self.counts[key] = count_active(*self._table(layer, coarse), tile.rows) * tile.rows
        return self.counts[key] / layer.pairs

    def _table(self, layer: Layer, coarse: bool) -> tuple[np.ndarray, SortKey]:
        """bool [k, rows in use] of the output rows that are computed, and their sort key."""
        kernel_map = map_of(layer, self.network.pyramid)
        if layer.kind == "submanifold":
            size = 5 if layer.name == "stem_conv" else 3
            offsets = kernel_offsets(size, self.network.coords.shape[1] - 1)
            table = np.asarray(kernel_map.rows)
            key = submanifold_key(np.asarray(offsets), table.shape[1])
            return table[:, : int(kernel_map.num_rows)] >= 0, key
        children = np.asarray(kernel_map.children)
        fine = np.zeros((len(children), int(kernel_map.num_fine_rows)), bool)
        for own, rows in zip(fine, children):
            own[rows[rows >= 0]] = True
        table = children[:, : int(kernel_map.num_rows)] >= 0 if coarse else fine
        return table, strided_key(*table.shape)


def count_active(exists: np.ndarray, key: SortKey, rows: int) -> int:
    """(tile, offset) of sorted tiles of so many rows where a row of the tile has the offset.

    Args:
      exists: bool [k, n].
    """
    volume, n = exists.shape
    rank = np.zeros(n, np.uint32)
    for own, word in zip(exists, key.words):
        rank |= np.where(own, word, np.uint32(0))
    for shift in (1, 2, 4, 8, 16):  # decode the Gray code
        rank ^= rank >> np.uint32(shift)
    order = np.lexsort((rank, np.arange(n) // key.chunk_rows))
    sorted_rows = np.pad(exists[:, order], ((0, 0), (0, -n % rows)))
    return int(sorted_rows.reshape(volume, -1, rows).any(2).sum())


def times_of(
    product: Product, tile: Tile, kernel: CompiledKernel, resources: Resources, redundancy: float
) -> dict[str, float]:
    """Seconds that each of the four limits asks for."""
    rates, problem, layer = Assumptions(), product.problem, product.layer
    itemsize = jnp.dtype(problem.dtype).itemsize
    programs = math.prod(kernel.grid)
    places = redundancy * layer.pairs
    ((_, moved),) = product.cost(itemsize).products
    if problem.operation == "gemm":
        main, rest = split_columns(problem.c_out, tile.columns)
        column_tiles = kernel.grid[1]
        tail = tail_of(problem.c_in, tile.channels)
        chunks = math.ceil((problem.c_in - tail) / tile.channels)
        channels = chunks * tile.channels + tail
        computed = 2 * places * channels * column_tiles * (main + rest)
        weights = places / tile.rows * problem.c_in * problem.c_out * itemsize
        gathered = layer.pairs * problem.c_in * itemsize * column_tiles
        loaded = gathered + weights + 4 * places * column_tiles
        steps = places / tile.rows * chunks * column_tiles / programs
        outputs = product.num_outputs if product.direction == "forward" else product.num_inputs
        parts = 0 if tile.splits == 1 else 8 * tile.splits * outputs * problem.c_out
    elif problem.operation == "weight_gradient":
        main, rest = split_columns(problem.c_out, tile.columns)
        in_tiles = math.ceil(problem.c_in / tile.channels)
        out_tiles = math.ceil(problem.c_out / (main + rest))
        computed = 2 * places * in_tiles * tile.channels * out_tiles * (main + rest)
        values = problem.c_in * out_tiles + problem.c_out * in_tiles
        loaded = layer.pairs * (values * itemsize + 8 * in_tiles * out_tiles)
        steps = layer.pairs / tile.rows * in_tiles * out_tiles / programs
        parts = 8 * tile.splits * problem.volume * problem.c_in * problem.c_out
    else:
        padded = 1 << (problem.c_in - 1).bit_length()
        columns = 1 << (max(problem.c_out, 16) - 1).bit_length()
        computed = 2 * places * padded * columns
        sector = max(32, problem.c_in * itemsize)
        forward = problem.operation == "narrow_conv"
        own = problem.volume * problem.c_in * problem.c_out * itemsize * kernel.grid[0]
        repeated = layer.outputs * problem.c_out * itemsize * kernel.grid[1]
        loaded = 4 * places + layer.pairs * sector + (own if forward else repeated)
        entries = problem.volume * padded / tile.channels
        steps = entries if forward else layer.outputs / tile.rows / tile.splits
        parts = 8 * tile.splits * problem.volume * problem.c_in * problem.c_out
    rate = rates.float32_rate if problem.dtype == "float32" else rates.half_rate
    resident = MULTIPROCESSORS * max(1, programs_per_multiprocessor(kernel, resources))
    return {
        "matrix": computed / (rate * min(1.0, programs / MULTIPROCESSORS)),
        "memory": (moved + parts) / rates.memory,
        "L2": loaded / rates.cache,
        "latency": steps * rates.step * max(1.0, programs / resident),
    }
