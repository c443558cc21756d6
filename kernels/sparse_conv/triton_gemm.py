"""Implicit GEMM: a sparse convolution as one matrix product whose rows are gathered on the way.

A program computes a tile of output rows for all output channels, so that an input row is gathered
once. Its loop runs over (offset that a row of the tile has) x (chunk of input channels), flat, so
that Triton's software pipeline never drains. `Tiles` hold the rows sorted by the offsets they have.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import triton.language as tl
from fourdc_jax.kernels.kernel_map.maps import GRANULE, ROW_MULTIPLE, Tiles
from fourdc_jax.kernels.sparse_conv.tile_table import Tile, split_columns
from fourdc_jax.kernels.triton_call import jit, launch
from jaxtyping import Array, Float, Float32, Int32


def implicit_gemm(
    features: Float[Array, "n contracted"],
    weights: Float[Array, "k a b"],
    tiles: Tiles,
    num_rows: Int32[Array, ""],
    num_outputs: int,
    tile: Tile,
    *,
    transposed: bool = False,
    mirrored: bool = False,
    bias: Float32[Array, "produced"] | None = None,
    with_moments: bool = False,
    precision: str,
    implementation: Literal["triton", "interpret"],
) -> tuple[Float[Array, "m produced"], tuple[Array, Array] | None]:
    """out[tiles.order] = sum over k of features[tiles.rows[k]] @ weights[k], and its moments.

    Args:
      features: rows that `tiles.rows` names are read, no others.
      weights: [k, contracted, produced], or [k, produced, contracted] where `transposed`.
      num_rows: output rows that hold data; the others are written as 0.
      num_outputs: m, rows of the result; every one stands in `tiles.order`.
      transposed: multiply by the transposed weights, as an input gradient does.
      mirrored: offset k of the map meets weight K - 1 - k, as in a submanifold's input gradient.
      bias: added to the rows that hold data.
      with_moments: also return mean and sum of squared deviations [tiles, produced], float32, of
        every tile of `tile.rows` positions, over the rows that hold data.
      precision: of float32 products, "ieee", "tf32x3" or "tf32".

    Raises:
      ValueError: moments or a bias are asked of a tile that splits its offsets, or a tile's rows do
        not divide `ROW_MULTIPLE`.
    """
    volume, positions = tiles.rows.shape
    contracted = features.shape[1]
    produced = weights.shape[1] if transposed else weights.shape[2]
    if tile.splits > 1 and (with_moments or bias is not None):
        raise ValueError("a tile that splits its offsets has no sum to take moments of.")
    if ROW_MULTIPLE % tile.rows:
        raise ValueError(f"a tile of {tile.rows} rows does not divide {ROW_MULTIPLE} positions.")
    main, rest = split_columns(produced, tile.columns)
    num_tiles = positions // tile.rows
    parts = (tile.splits,) if tile.splits > 1 else ()
    dtype = jnp.float32 if parts else features.dtype
    moments = jax.ShapeDtypeStruct((num_tiles, produced) if with_moments else (1,), jnp.float32)
    out, means, squares = launch(
        _implicit_gemm,
        (
            features, weights, tiles.rows, tiles.order, tiles.active, num_rows,
            jnp.zeros(1, jnp.float32) if bias is None else bias,
        ),
        (jax.ShapeDtypeStruct((*parts, num_outputs, produced), dtype), moments, moments),
        grid=(num_tiles, -(-produced // (main + rest)), tile.splits),
        implementation=implementation,
        num_warps=tile.warps,
        num_stages=tile.stages,
        VOLUME=volume, POSITIONS=positions, WORDS=tiles.active.shape[1], GRANULE=GRANULE,
        OUTPUTS=num_outputs, CONTRACTED=contracted, PRODUCED=produced,
        ROWS=tile.rows, CHUNK=tile.channels, TAIL=tail_of(contracted, tile.channels),
        MAIN=main, REST=rest, SPLITS=tile.splits,
        TRANSPOSED=transposed, MIRRORED=mirrored, BIAS=bias is not None, MOMENTS=with_moments,
        WIDE=needs_wide_index(features.size, num_outputs * produced * tile.splits, tiles.rows.size),
        PRECISION=precision,
    )  # fmt: skip
    if parts:
        out = jnp.sum(out, axis=0).astype(features.dtype)
    return out, (means, squares) if with_moments else None


def tail_of(contracted: int, chunk: int) -> int:
    """Channels that go with the only chunk in one step, as 32 with 64 for 96 channels; else 0."""
    tail = contracted - chunk
    return tail if 16 <= tail < chunk and tail & (tail - 1) == 0 else 0


def needs_wide_index(*sizes: int) -> bool:
    """Whether an element number of the largest array leaves int32."""
    return max(sizes) >= 2**31


# fmt: off

@jit
def _implicit_gemm(
    features, weights, rows, order, active, num_rows, bias, out, means, squares,
    VOLUME: tl.constexpr, POSITIONS: tl.constexpr, WORDS: tl.constexpr, GRANULE: tl.constexpr,
    OUTPUTS: tl.constexpr, CONTRACTED: tl.constexpr, PRODUCED: tl.constexpr,
    ROWS: tl.constexpr, CHUNK: tl.constexpr, TAIL: tl.constexpr, MAIN: tl.constexpr,
    REST: tl.constexpr, SPLITS: tl.constexpr, TRANSPOSED: tl.constexpr, MIRRORED: tl.constexpr,
    BIAS: tl.constexpr, MOMENTS: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr,
):
    tile, column_tile, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    index = tl.int64 if WIDE else tl.int32
    positions = tile * ROWS + tl.arange(0, ROWS)                                  # (ROWS,)
    main_columns = column_tile * (MAIN + REST) + tl.arange(0, MAIN)               # (MAIN,)
    main_sum = tl.zeros((ROWS, MAIN), tl.float32)                                 # (ROWS, MAIN)
    if REST > 0:
        rest_columns = column_tile * (MAIN + REST) + MAIN + tl.arange(0, REST)    # (REST,)
        rest_sum = tl.zeros((ROWS, REST), tl.float32)                             # (ROWS, REST)
    CHUNKS: tl.constexpr = (CONTRACTED - TAIL + CHUNK - 1) // CHUNK

    for word in range(WORDS):
        bits = _active_bits(active, tile, word, WORDS, GRANULE, ROWS, SPLITS, split)
        for step in range(_count_bits(bits) * CHUNKS):
            chunk = step % CHUNKS
            offset = word * 32 + _lowest_bit(bits)
            sources = tl.load(rows + offset.to(index) * POSITIONS + positions)    # (ROWS,)
            weight = VOLUME - 1 - offset if MIRRORED else offset
            matrix = weights + weight * (CONTRACTED * PRODUCED)
            channels = chunk * CHUNK + tl.arange(0, CHUNK)                        # (CHUNK,)
            exists = sources >= 0                                                 # (ROWS,)
            sources = sources.to(index)                                           # (ROWS,)
            x = gather(features, sources, exists, channels, CONTRACTED)           # (ROWS, CHUNK)
            w = _weight_block(
                matrix, channels, main_columns, CONTRACTED, PRODUCED, TRANSPOSED
            )                                                                     # (CHUNK, MAIN)
            main_sum = tl.dot(x, w, main_sum, input_precision=PRECISION)          # (ROWS, MAIN)
            if REST > 0:
                w = _weight_block(
                    matrix, channels, rest_columns, CONTRACTED, PRODUCED, TRANSPOSED
                )                                                                 # (CHUNK, REST)
                rest_sum = tl.dot(x, w, rest_sum, input_precision=PRECISION)      # (ROWS, REST)
            if TAIL > 0:
                channels = CHUNK + tl.arange(0, TAIL)                             # (TAIL,)
                x = gather(features, sources, exists, channels, CONTRACTED)       # (ROWS, TAIL)
                w = _weight_block(
                    matrix, channels, main_columns, CONTRACTED, PRODUCED, TRANSPOSED
                )                                                                 # (TAIL, MAIN)
                main_sum = tl.dot(x, w, main_sum, input_precision=PRECISION)      # (ROWS, MAIN)
                if REST > 0:
                    w = _weight_block(
                        matrix, channels, rest_columns, CONTRACTED, PRODUCED, TRANSPOSED
                    )                                                             # (TAIL, REST)
                    rest_sum = tl.dot(x, w, rest_sum, input_precision=PRECISION)  # (ROWS, REST)
            bits = tl.where(chunk == CHUNKS - 1, bits & (bits - 1), bits)

    targets = tl.load(order + positions)                                          # (ROWS,)
    valid_rows = tl.minimum(tl.load(num_rows), OUTPUTS)
    count = tl.minimum(tl.maximum(valid_rows - tile * ROWS, 0), ROWS)
    first = split.to(index) * OUTPUTS
    _write_columns(
        out, means, squares, bias, main_sum, tile, first, targets, main_columns, num_rows, count,
        PRODUCED, BIAS, MOMENTS, index,
    )
    if REST > 0:
        _write_columns(
            out, means, squares, bias, rest_sum, tile, first, targets, rest_columns, num_rows,
            count, PRODUCED, BIAS, MOMENTS, index,
        )


@jit
def gather(features, rows, exists, channels, CHANNELS: tl.constexpr):
    """[rows, channels] of the features; 0 where there is no row or no channel."""
    inside = exists[:, None] & (channels < CHANNELS)[None, :]           # (rows, channels)
    pointers = features + rows[:, None] * CHANNELS + channels[None, :]  # (rows, channels)
    return tl.load(pointers, mask=inside, other=0.0)                    # (rows, channels)


@jit
def _weight_block(
    matrix, channels, columns,
    CONTRACTED: tl.constexpr, PRODUCED: tl.constexpr, TRANSPOSED: tl.constexpr,
):
    """[channels, columns] of one offset's matrix; 0 beyond the channels that there are."""
    if TRANSPOSED:
        wanted = columns < PRODUCED                                         # (columns,)
        exists = channels < CONTRACTED                                      # (channels,)
        inside = wanted[:, None] & exists[None]                             # (columns, channels)
        pointers = matrix + columns[:, None] * CONTRACTED + channels[None]  # (columns, channels)
        return tl.trans(tl.load(pointers, mask=inside, other=0.0))          # (channels, columns)
    exists = channels < CONTRACTED                                          # (channels,)
    wanted = columns < PRODUCED                                             # (columns,)
    inside = exists[:, None] & wanted[None]                                 # (channels, columns)
    pointers = matrix + channels[:, None] * PRODUCED + columns[None]        # (channels, columns)
    return tl.load(pointers, mask=inside, other=0.0)                        # (channels, columns)


@jit
def _write_columns(
    out, means, squares, bias, total, tile, first, targets, columns, num_rows, count,
    PRODUCED: tl.constexpr, BIAS: tl.constexpr, MOMENTS: tl.constexpr, index: tl.constexpr,
):
    """Rows without data become 0; moments are those of the values as they are written."""
    holds_data = ((targets >= 0) & (targets < tl.load(num_rows)))[:, None]   # (ROWS, 1)
    if BIAS:
        added = tl.load(bias + columns, mask=columns < PRODUCED, other=0.0)  # (columns,)
        total += added[None, :]                                              # (ROWS, columns)
    written = tl.where(holds_data, total, 0.0).to(out.dtype.element_ty)      # (ROWS, columns)
    inside = (targets >= 0)[:, None] & (columns < PRODUCED)[None, :]         # (ROWS, columns)
    places = first + targets.to(index)                                       # (ROWS,)
    pointers = out + places[:, None] * PRODUCED + columns[None, :]           # (ROWS, columns)
    tl.store(pointers, written, mask=inside)
    if MOMENTS:
        values = written.to(tl.float32)                                      # (ROWS, columns)
        mean = tl.sum(values, 0) / tl.maximum(count, 1).to(tl.float32)       # (columns,)
        deviation = tl.where(holds_data, values - mean[None, :], 0.0)        # (ROWS, columns)
        tl.store(means + tile * PRODUCED + columns, mean, mask=columns < PRODUCED)
        square = tl.sum(deviation * deviation, 0)                            # (columns,)
        tl.store(squares + tile * PRODUCED + columns, square, mask=columns < PRODUCED)


@jit
def _active_bits(
    active, tile, word,
    WORDS: tl.constexpr, GRANULE: tl.constexpr, ROWS: tl.constexpr, SPLITS: tl.constexpr, split,
):
    """One word of the offsets that the tile has; every SPLITS-th of them for each split."""
    granule = tile * ROWS // GRANULE
    bits = tl.load(active + granule * WORDS + word)
    for extra in tl.static_range(1, ROWS // GRANULE):
        bits |= tl.load(active + (granule + extra) * WORDS + word)
    if SPLITS > 1:
        lanes = tl.arange(0, 32)                     # (32,)
        own = (word * 32 + lanes) % SPLITS == split  # (32,)
        bits &= tl.sum(tl.where(own, 1 << lanes, 0), 0).to(tl.uint32)
    return bits


@jit
def _lowest_bit(bits):
    """Number of the lowest bit that is set, read off the exponent of its value."""
    lowest = bits & (~bits + 1)
    return (lowest.to(tl.float32).to(tl.int32, bitcast=True) >> 23) - 127


@jit
def _count_bits(bits):
    """Number of bits that are set in a uint32."""
    bits = bits - ((bits >> 1) & 0x55555555)
    bits = (bits & 0x33333333) + ((bits >> 2) & 0x33333333)
    bits = (bits + (bits >> 4)) & 0x0F0F0F0F
    return ((bits * 0x01010101) >> 24).to(tl.int32)
