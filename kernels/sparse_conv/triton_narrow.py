"""Convolutions with few input channels, such as a network's stem: all offsets in one product.

One offset of a kernel with 1 or 3 input channels is too little for a matrix unit. Here the
contracted dimension of the product is (offset, channel), as in im2col, gathered on the way; offsets
that a row does not have are zeros. Each row's channels are padded to a power of two.
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import triton.language as tl
from fourdc_jax.kernels.sparse_conv.tile_table import Tile
from fourdc_jax.kernels.sparse_conv.triton_gemm import needs_wide_index
from fourdc_jax.kernels.triton_call import jit, launch
from jaxtyping import Array, Float, Float32, Int32

NARROW_CHANNELS = 8


def narrow_conv(
    features: Float[Array, "n c_in"],
    weights: Float[Array, "k c_in c_out"],
    rows: Int32[Array, "k m"],
    num_rows: Int32[Array, ""],
    tile: Tile,
    *,
    bias: Float32[Array, "c_out"] | None = None,
    precision: str,
    implementation: Literal["triton", "interpret"],
) -> Float[Array, "m c_out"]:
    """out[i] = sum over k of features[rows[k, i]] @ weights[k] + bias; rows >= num_rows are 0."""
    volume, outputs = rows.shape
    c_in, c_out = features.shape[1], weights.shape[2]
    columns = 1 << (min(max(c_out, 16), 256) - 1).bit_length()
    (out,) = launch(
        _narrow_conv,
        (
            features,
            weights,
            rows,
            num_rows,
            jnp.zeros(1, jnp.float32) if bias is None else bias,
        ),
        (jax.ShapeDtypeStruct((outputs, c_out), features.dtype),),
        grid=(-(-outputs // tile.rows), -(-c_out // columns)),
        implementation=implementation,
        num_warps=tile.warps,
        num_stages=tile.stages,
        VOLUME=volume, OUTPUTS=outputs, C_IN=c_in, PADDED=_power_of_two(c_in), C_OUT=c_out,
        ROWS=tile.rows, CHUNK=tile.channels, COLUMNS=columns, BIAS=bias is not None,
        WIDE=needs_wide_index(features.size, outputs * c_out, rows.size), PRECISION=precision,
    )  # fmt: skip
    return out


def narrow_weight_gradient(
    features: Float[Array, "n c_in"],
    grad: Float[Array, "m c_out"],
    rows: Int32[Array, "k m"],
    num_rows: Int32[Array, ""],
    tile: Tile,
    *,
    precision: str,
    implementation: Literal["triton", "interpret"],
) -> Float32[Array, "k c_in c_out"]:
    """out[k] = sum over rows i < num_rows of features[rows[k, i]] outer grad[i]."""
    volume, outputs = rows.shape
    c_in, c_out = features.shape[1], grad.shape[1]
    padded = _power_of_two(c_in)
    columns = 1 << (min(max(c_out, 16), 128) - 1).bit_length()
    shape = (tile.splits, volume, c_in, c_out)
    (partial,) = launch(
        _narrow_weight_gradient,
        (features, grad, rows, num_rows),
        (jax.ShapeDtypeStruct(shape, jnp.float32),),
        grid=(tile.splits, -(-volume * padded // tile.channels), -(-c_out // columns)),
        implementation=implementation,
        num_warps=tile.warps,
        num_stages=tile.stages,
        VOLUME=volume, OUTPUTS=outputs, C_IN=c_in, PADDED=padded, C_OUT=c_out,
        ROWS=tile.rows, CHUNK=tile.channels, COLUMNS=columns, SPLITS=tile.splits,
        WIDE=needs_wide_index(features.size, grad.size, rows.size, math.prod(shape)),
        PRECISION=precision,
    )  # fmt: skip
    return partial[0] if tile.splits == 1 else jnp.sum(partial, axis=0)


def _power_of_two(channels: int) -> int:
    return 1 << (channels - 1).bit_length()


# fmt: off

@jit
def _narrow_conv(
    features, weights, rows, num_rows, bias, out,
    VOLUME: tl.constexpr, OUTPUTS: tl.constexpr, C_IN: tl.constexpr, PADDED: tl.constexpr,
    C_OUT: tl.constexpr, ROWS: tl.constexpr, CHUNK: tl.constexpr, COLUMNS: tl.constexpr,
    BIAS: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr,
):
    index = tl.int64 if WIDE else tl.int32
    places = tl.program_id(0) * ROWS + tl.arange(0, ROWS)                     # (ROWS,)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)              # (COLUMNS,)
    holds_data = places < tl.minimum(tl.load(num_rows), OUTPUTS)              # (ROWS,)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)                             # (ROWS, COLUMNS)
    for first in range(0, VOLUME * PADDED, CHUNK):
        entries = first + tl.arange(0, CHUNK)                                 # (CHUNK,)
        offsets, channels = entries // PADDED, entries % PADDED               # (CHUNK,) each
        exists = (offsets < VOLUME) & (channels < C_IN)                       # (CHUNK,)
        x = _gather_offsets(
            features, rows, places.to(index), holds_data, offsets, channels, exists, OUTPUTS, C_IN
        )                                                                     # (ROWS, CHUNK)
        matrix_rows = offsets * C_IN + channels                               # (CHUNK,)
        inside = exists[:, None] & (columns < C_OUT)[None, :]                 # (CHUNK, COLUMNS)
        pointers = weights + matrix_rows[:, None] * C_OUT + columns[None, :]  # (CHUNK, COLUMNS)
        w = tl.load(pointers, mask=inside, other=0.0)                         # (CHUNK, COLUMNS)
        total = tl.dot(x, w, total, input_precision=PRECISION)                # (ROWS, COLUMNS)
    if BIAS:
        added = tl.load(bias + columns, mask=columns < C_OUT, other=0.0)      # (COLUMNS,)
        total = tl.where(holds_data[:, None], total + added[None, :], 0.0)    # (ROWS, COLUMNS)
    inside = (places < OUTPUTS)[:, None] & (columns < C_OUT)[None, :]         # (ROWS, COLUMNS)
    pointers = out + places.to(index)[:, None] * C_OUT + columns[None, :]     # (ROWS, COLUMNS)
    tl.store(pointers, total.to(out.dtype.element_ty), mask=inside)


@jit
def _narrow_weight_gradient(
    features, grad, rows, num_rows, partial,
    VOLUME: tl.constexpr, OUTPUTS: tl.constexpr, C_IN: tl.constexpr, PADDED: tl.constexpr,
    C_OUT: tl.constexpr, ROWS: tl.constexpr, CHUNK: tl.constexpr, COLUMNS: tl.constexpr,
    SPLITS: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr,
):
    index = tl.int64 if WIDE else tl.int32
    split = tl.program_id(0)
    entries = tl.program_id(1) * CHUNK + tl.arange(0, CHUNK)                    # (CHUNK,)
    columns = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)                # (COLUMNS,)
    offsets, channels = entries // PADDED, entries % PADDED                     # (CHUNK,) each
    exists = (offsets < VOLUME) & (channels < C_IN)                             # (CHUNK,)
    total = tl.zeros((CHUNK, COLUMNS), tl.float32)                              # (CHUNK, COLUMNS)
    count = tl.minimum(tl.load(num_rows), OUTPUTS)
    steps = (count + ROWS - 1) // ROWS
    for step in range(steps * split // SPLITS, steps * (split + 1) // SPLITS):
        places = step * ROWS + tl.arange(0, ROWS)                               # (ROWS,)
        holds_data = places < count                                             # (ROWS,)
        x = _gather_offsets(
            features, rows, places.to(index), holds_data, offsets, channels, exists, OUTPUTS, C_IN
        )                                                                       # (ROWS, CHUNK)
        inside = holds_data[:, None] & (columns < C_OUT)[None, :]               # (ROWS, COLUMNS)
        pointers = grad + places.to(index)[:, None] * C_OUT + columns[None, :]  # (ROWS, COLUMNS)
        y = tl.load(pointers, mask=inside, other=0.0)                           # (ROWS, COLUMNS)
        total = tl.dot(tl.trans(x), y, total, input_precision=PRECISION)        # (CHUNK, COLUMNS)
    matrix_rows = split * (VOLUME * C_IN) + offsets * C_IN + channels           # (CHUNK,)
    inside = exists[:, None] & (columns < C_OUT)[None, :]                       # (CHUNK, COLUMNS)
    matrix_rows = matrix_rows.to(index)                                         # (CHUNK,)
    pointers = partial + matrix_rows[:, None] * C_OUT + columns[None, :]        # (CHUNK, COLUMNS)
    tl.store(pointers, total, mask=inside)


@jit
def _gather_offsets(
    features, rows, places, holds_data, offsets, channels, exists,
    OUTPUTS: tl.constexpr, C_IN: tl.constexpr,
):
    """[places, entries]: channel of the row that each place reads at each entry's offset, or 0."""
    inside = holds_data[:, None] & exists[None, :]                    # (places, entries)
    offsets = offsets.to(places.dtype)                                # (entries,)
    table = rows + offsets[None, :] * OUTPUTS + places[:, None]       # (places, entries)
    sources = tl.load(table, mask=inside, other=-1).to(places.dtype)  # (places, entries)
    pointers = features + sources * C_IN + channels[None, :]          # (places, entries)
    return tl.load(pointers, mask=sources >= 0, other=0.0)            # (places, entries)
