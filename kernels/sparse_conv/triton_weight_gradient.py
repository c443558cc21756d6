"""Weight gradient: for every offset one matrix product over the existing pairs, exactly.

A program sums a part of an offset's pairs for a tile of input and output channels. The parts of
all programs are added in a fixed order afterwards: no atomics, the same result in every run.
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import triton.language as tl
from fourdc_jax.kernels.kernel_map.maps import PairLists
from fourdc_jax.kernels.sparse_conv.tile_table import Tile, split_columns
from fourdc_jax.kernels.sparse_conv.triton_gemm import gather, needs_wide_index
from fourdc_jax.kernels.triton_call import jit, launch
from jaxtyping import Array, Float, Float32, Int32


def weight_gradient(
    features: Float[Array, "n c_in"],
    grad: Float[Array, "m c_out"],
    pairs: PairLists,
    num_rows: Int32[Array, ""],
    volume: int,
    tile: Tile,
    *,
    precision: str,
    implementation: Literal["triton", "interpret"],
) -> Float32[Array, "k c_in c_out"]:
    """out[k] = sum over the pairs (i, j) of offset k of features[i] outer grad[j].

    Args:
      pairs: a list for each offset; or, of a submanifold map, for each offset before the centre:
        the centre's pairs are (i, i) for i < num_rows, and offset K - 1 - k has list k exchanged.
      volume: K, number of offsets.
      tile: `rows` pairs a step, `channels` of the inputs and `columns` of the outputs a program;
        `splits` programs share an offset's pairs.
    """
    lists, length = pairs.inputs.shape
    c_in, c_out = features.shape[1], grad.shape[1]
    main, rest = split_columns(c_out, tile.columns)
    in_tiles, out_tiles = -(-c_in // tile.channels), -(-c_out // (main + rest))
    shape = (tile.splits, volume, c_in, c_out)
    (partial,) = launch(
        _weight_gradient,
        (features, grad, pairs.inputs, pairs.outputs, pairs.counts, num_rows),
        (jax.ShapeDtypeStruct(shape, jnp.float32),),
        grid=(tile.splits, in_tiles * out_tiles, volume),
        implementation=implementation,
        num_warps=tile.warps,
        num_stages=tile.stages,
        VOLUME=volume, LISTS=lists, LENGTH=length, ROWS=features.shape[0], C_IN=c_in, C_OUT=c_out,
        PAIRS=tile.rows, IN_BLOCK=tile.channels, IN_TILES=in_tiles, MAIN=main, REST=rest,
        SPLITS=tile.splits,
        WIDE=needs_wide_index(features.size, grad.size, pairs.inputs.size, math.prod(shape)),
        PRECISION=precision,
    )  # fmt: skip
    return partial[0] if tile.splits == 1 else jnp.sum(partial, axis=0)


# fmt: off

@jit
def _weight_gradient(
    features, grad, inputs, outputs, counts, num_rows, partial,
    VOLUME: tl.constexpr, LISTS: tl.constexpr, LENGTH: tl.constexpr, ROWS: tl.constexpr,
    C_IN: tl.constexpr, C_OUT: tl.constexpr, PAIRS: tl.constexpr,
    IN_BLOCK: tl.constexpr, IN_TILES: tl.constexpr, MAIN: tl.constexpr, REST: tl.constexpr,
    SPLITS: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr,
):
    split, channel_tile, offset = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    index = tl.int64 if WIDE else tl.int32
    rows = (channel_tile % IN_TILES) * IN_BLOCK + tl.arange(0, IN_BLOCK)  # (IN_BLOCK,)
    first_column = (channel_tile // IN_TILES) * (MAIN + REST)
    main_columns = first_column + tl.arange(0, MAIN)                      # (MAIN,)
    main_sum = tl.zeros((IN_BLOCK, MAIN), tl.float32)                     # (IN_BLOCK, MAIN)
    if REST > 0:
        rest_columns = first_column + MAIN + tl.arange(0, REST)           # (REST,)
        rest_sum = tl.zeros((IN_BLOCK, REST), tl.float32)                 # (IN_BLOCK, REST)

    # Of a submanifold map only the lists before the centre exist; others have all and no centre.
    mirror = VOLUME - 1 - offset if LISTS < VOLUME else VOLUME
    centre = offset == mirror
    number = tl.minimum(offset, mirror)
    count = tl.minimum(tl.load(num_rows), ROWS)
    if LISTS > 0:
        count = tl.where(centre, count, tl.load(counts + tl.minimum(number, LISTS - 1)))
    steps = (count + PAIRS - 1) // PAIRS
    lists = number.to(index) * LENGTH
    for step in range(steps * split // SPLITS, steps * (split + 1) // SPLITS):
        places = step * PAIRS + tl.arange(0, PAIRS)                       # (PAIRS,)
        exists = places < count                                           # (PAIRS,)
        read = places < tl.where(centre, 0, count)                        # (PAIRS,)
        first = tl.load(inputs + lists + places, mask=read, other=0)      # (PAIRS,)
        first = tl.where(centre, places, first)                           # (PAIRS,)
        second = tl.load(outputs + lists + places, mask=read, other=0)    # (PAIRS,)
        second = tl.where(centre, places, second)                         # (PAIRS,)
        sources = tl.where(offset > mirror, second, first).to(index)      # (PAIRS,)
        targets = tl.where(offset > mirror, first, second).to(index)      # (PAIRS,)
        x = tl.trans(gather(features, sources, exists, rows, C_IN))       # (IN_BLOCK, PAIRS)
        y = gather(grad, targets, exists, main_columns, C_OUT)            # (PAIRS, MAIN)
        main_sum = tl.dot(x, y, main_sum, input_precision=PRECISION)      # (IN_BLOCK, MAIN)
        if REST > 0:
            y = gather(grad, targets, exists, rest_columns, C_OUT)        # (PAIRS, REST)
            rest_sum = tl.dot(x, y, rest_sum, input_precision=PRECISION)  # (IN_BLOCK, REST)

    base = partial + (split * VOLUME + offset).to(index) * (C_IN * C_OUT)
    _write(base, main_sum, rows, main_columns, C_IN, C_OUT)
    if REST > 0:
        _write(base, rest_sum, rows, rest_columns, C_IN, C_OUT)


@jit
def _write(base, total, rows, columns, C_IN: tl.constexpr, C_OUT: tl.constexpr):
    inside = (rows < C_IN)[:, None] & (columns < C_OUT)[None, :]  # (rows, columns)
    pointers = base + rows[:, None] * C_OUT + columns[None, :]    # (rows, columns)
    tl.store(pointers, total, mask=inside)
