"""`Tiles` in Triton: one key a row, a radix sort, and the table's columns in sorted order."""

from typing import Literal

import jax
import jax.numpy as jnp
import triton.language as tl
from fourdc_jax.kernels.kernel_map.maps import GRANULE, ROW_MULTIPLE, Tiles
from fourdc_jax.kernels.kernel_map.sort_keys import SortKey
from fourdc_jax.kernels.triton_call import jit, launch
from jax import lax
from jaxtyping import Array, Int32, UInt

KEYS = 128  # of a program
WORD_BITS = 32


def build_tiles(
    table: Int32[Array, "k n"],
    num_rows: Int32[Array, ""],
    key: SortKey,
    implementation: Literal["triton", "interpret"],
) -> Tiles:
    """Sort the rows by key: two launches beside the sort.

    Args:
      table: 1 + input row, 0 where there is none; n at least 1.
      num_rows: output rows in use; the others come last.
    """
    volume, n = table.shape
    own = jnp.arange(n, dtype=jnp.int32)
    keys = _sort_keys(table, num_rows, key, implementation)
    _, order = lax.sort((keys, own), num_keys=1, is_stable=True)
    positions, words = padded_positions(n), active_words(volume)
    rows, order, active = launch(
        _permute,
        [table, order],
        [
            jax.ShapeDtypeStruct((volume, positions), jnp.int32),
            jax.ShapeDtypeStruct((positions,), jnp.int32),
            jax.ShapeDtypeStruct((positions // GRANULE, words), jnp.uint32),
        ],
        grid=(positions // GRANULE, words),
        implementation=implementation,
        VOLUME=volume,
        NUM_ROWS=n,
        POSITIONS=positions,
        WORDS=words,
        BITS=min(WORD_BITS, 1 << (volume - 1).bit_length()),
        BLOCK=GRANULE,
    )
    return Tiles(rows, order, active)


def empty_tiles(volume: int) -> Tiles:
    """Tiles of no rows."""
    return Tiles(
        rows=jnp.zeros((volume, 0), jnp.int32),
        order=jnp.zeros(0, jnp.int32),
        active=jnp.zeros((0, active_words(volume)), jnp.uint32),
    )


def padded_positions(num_rows: int) -> int:
    """Positions of tiles of that many rows."""
    return -(-num_rows // ROW_MULTIPLE) * ROW_MULTIPLE


def active_words(volume: int) -> int:
    """Words that hold one bit for each offset."""
    return -(-volume // WORD_BITS)


def _sort_keys(
    table: Int32[Array, "k n"],
    num_rows: Int32[Array, ""],
    key: SortKey,
    implementation: Literal["triton", "interpret"],
) -> UInt[Array, "n"]:
    volume, n = table.shape
    (keys,) = launch(
        _write_keys,
        [table, jnp.asarray(key.words), num_rows],
        [jax.ShapeDtypeStruct((n,), jnp.uint32)],
        grid=(-(-n // KEYS),),
        implementation=implementation,
        VOLUME=volume,
        NUM_ROWS=n,
        MASK_BITS=key.mask_bits,
        CHUNK_ROWS=key.chunk_rows,
        UNROLL=min(volume, 8),
        BLOCK=KEYS,
    )
    return keys.astype(key.dtype)


# fmt: off

@jit
def _write_keys(
    table, words, num_rows, keys,
    VOLUME: tl.constexpr, NUM_ROWS: tl.constexpr, MASK_BITS: tl.constexpr,
    CHUNK_ROWS: tl.constexpr, UNROLL: tl.constexpr, BLOCK: tl.constexpr,
):
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)                             # (BLOCK,)
    in_use = (row < NUM_ROWS) & (row < tl.load(num_rows))                            # (BLOCK,)
    mask = tl.zeros((BLOCK,), tl.uint32)                                             # (BLOCK,)
    for first in range(0, VOLUME, UNROLL):
        # Loads that are in flight together.
        for step in tl.static_range(UNROLL):
            # The last may come twice.
            offset = tl.minimum(first + step, VOLUME - 1).to(tl.int64)
            source = tl.load(table + offset * NUM_ROWS + row, mask=in_use, other=0)  # (BLOCK,)
            mask |= tl.where(source > 0, tl.load(words + offset), 0)                 # (BLOCK,)
    # Decode the Gray code.
    for shift in tl.static_range(5):
        mask ^= mask >> (1 << shift)                                                 # (BLOCK,)
    key = mask                                                                       # (BLOCK,)
    if CHUNK_ROWS < NUM_ROWS:
        key |= (row // CHUNK_ROWS).to(tl.uint32) << MASK_BITS                        # (BLOCK,)
    # Equal to no or only to lower rows' keys: padded rows stay last.
    key = tl.where(in_use, key, 0xFFFFFFFF)                                          # (BLOCK,)
    tl.store(keys + row, key, mask=row < NUM_ROWS)


@jit
def _permute(
    table, order, rows, padded_order, active,
    VOLUME: tl.constexpr, NUM_ROWS: tl.constexpr, POSITIONS: tl.constexpr, WORDS: tl.constexpr,
    BITS: tl.constexpr, BLOCK: tl.constexpr,
):
    granule, word = tl.program_id(0), tl.program_id(1)
    position = granule * BLOCK + tl.arange(0, BLOCK)                     # (BLOCK,)
    row = tl.load(order + position, mask=position < NUM_ROWS, other=-1)  # (BLOCK,)
    bit = tl.arange(0, BITS)                                             # (BITS,)
    offset = (word * 32 + bit).to(tl.int64)[:, None]                     # (BITS, 1)
    exists = (offset < VOLUME) & (row >= 0)[None]                        # (BITS, BLOCK)
    pointers = table + offset * NUM_ROWS + row[None]                     # (BITS, BLOCK)
    source = tl.load(pointers, mask=exists, other=0) - 1                 # (BITS, BLOCK)
    tl.store(rows + offset * POSITIONS + position[None], source, mask=offset < VOLUME)
    has_neighbour = tl.max((source >= 0).to(tl.int32), axis=1)           # (BITS,)
    tl.store(active + granule * WORDS + word, tl.sum(has_neighbour << bit, axis=0).to(tl.uint32))
    if word == 0:
        tl.store(padded_order + position, row)
