"""Submanifold maps in Triton: half of the offsets are looked up, both directions are written."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import triton.language as tl
from fourdc_jax.kernels.hash_table import SlotTable
from fourdc_jax.kernels.hash_table import xla as xla_hash_table
from fourdc_jax.kernels.hash_table.slot_table import num_slots, tag_bits
from fourdc_jax.kernels.hash_table.triton import find, hash_coords
from fourdc_jax.kernels.kernel_map import xla
from fourdc_jax.kernels.kernel_map.maps import KernelMap
from fourdc_jax.kernels.kernel_map.sort_keys import submanifold_key
from fourdc_jax.kernels.kernel_map.triton_pairs import BUCKET, list_pairs, num_buckets
from fourdc_jax.kernels.kernel_map.triton_tiles import build_tiles, empty_tiles
from fourdc_jax.kernels.triton_call import jit, launch
from jaxtyping import Array, Int32

ROWS, OFFSETS = 32, 4  # of a program of one warp: four independent probes a lane


def build_kernel_map(
    coords: Int32[Array, "n columns"],
    num_rows: Int32[Array, ""],
    offsets: Int32[np.ndarray, "k d"],
    table: SlotTable,
    implementation: Literal["triton", "interpret"],
) -> KernelMap:
    """Four launches (probe, list pairs, keys, permute), two clears and one radix sort."""
    (n, columns), (volume, _) = coords.shape, offsets.shape
    half = volume // 2
    if n == 0:
        empty = xla_hash_table.build_hash_table(coords, num_rows)
        kmap = xla.build_kernel_map(coords, num_rows, offsets, empty)
        return kmap._replace(tiles=empty_tiles(volume))
    shifts = jnp.asarray(np.pad(offsets[: half + 1], ((0, 0), (1, 0))))  # [half + 1, columns]
    lists, buckets = max(half, 1), num_buckets(n)
    neighbours, counts = launch(
        _probe,
        [coords, shifts, num_rows, table.slots],
        [
            jax.ShapeDtypeStruct((volume, n), jnp.int32),
            jax.ShapeDtypeStruct((lists, buckets), jnp.int32),
        ],
        zeroed=(0, 1),
        grid=(-(-n // ROWS), -(-lists // OFFSETS)),
        num_warps=1,
        implementation=implementation,
        NUM_ROWS=n,
        VOLUME=volume,
        COLUMNS=columns,
        NUM_SLOTS=num_slots(n),
        TAG_BITS=tag_bits(n),
        BUCKETS=buckets,
        BUCKET_ROWS=BUCKET,
        BLOCK=ROWS,
        OFFSET_BLOCK=OFFSETS,
    )
    if half:
        pairs = list_pairs(neighbours, counts, implementation)
    else:
        pairs = xla.build_pair_lists(neighbours[:0])
    tiles = build_tiles(neighbours, num_rows, submanifold_key(offsets, n), implementation)
    return KernelMap(neighbours - 1, num_rows, pairs, tiles)


# fmt: off

@jit
def _probe(
    coords, shifts, num_rows, slots, neighbours, counts,
    NUM_ROWS: tl.constexpr, VOLUME: tl.constexpr, COLUMNS: tl.constexpr, NUM_SLOTS: tl.constexpr,
    TAG_BITS: tl.constexpr, BUCKETS: tl.constexpr, BUCKET_ROWS: tl.constexpr, BLOCK: tl.constexpr,
    OFFSET_BLOCK: tl.constexpr,
):
    HALF: tl.constexpr = VOLUME // 2
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None]             # (1, BLOCK)
    offset = tl.program_id(1) * OFFSET_BLOCK + tl.arange(0, OFFSET_BLOCK)  # (OFFSET_BLOCK,)
    in_use = (row < NUM_ROWS) & (row < tl.load(num_rows))                  # (1, BLOCK)
    active = in_use & (offset < HALF)[:, None]                             # (OFFSET_BLOCK, BLOCK)
    shift = tl.minimum(offset, HALF)[:, None]                              # (OFFSET_BLOCK, 1)
    mixed = hash_coords(coords, row, shifts, shift, active, COLUMNS)       # (OFFSET_BLOCK, BLOCK)
    found = find(
        slots, coords, coords, row, shifts, shift, mixed, active,
        NUM_ROWS, NUM_SLOTS, TAG_BITS, COLUMNS,
    )                                                                      # (OFFSET_BLOCK, BLOCK)
    exists = found >= 0                                                    # (OFFSET_BLOCK, BLOCK)
    forward = offset.to(tl.int64)[:, None]                                 # (OFFSET_BLOCK, 1)
    tl.store(neighbours + forward * NUM_ROWS + row, found + 1, mask=exists)
    tl.store(neighbours + (VOLUME - 1 - forward) * NUM_ROWS + found, row + 1, mask=exists)
    if tl.program_id(1) == 0:
        centre = HALF + tl.zeros((1, BLOCK), tl.int64)                     # (1, BLOCK)
        tl.store(neighbours + centre * NUM_ROWS + row, row + 1, mask=in_use)
    bucket = tl.program_id(0) * BLOCK // BUCKET_ROWS
    pairs = tl.sum(exists.to(tl.int32), axis=1)                            # (OFFSET_BLOCK,)
    tl.atomic_add(counts + offset * BUCKETS + bucket, pairs, mask=offset < HALF, sem="relaxed")
