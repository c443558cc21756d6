"""Strided maps in Triton: coarse voxels numbered by their first child, in order of fine rows."""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import triton.language as tl
from fourdc_jax.kernels.hash_table.slot_table import num_slots, tag_bits
from fourdc_jax.kernels.hash_table.triton import find, hash_coords, insert, no_shift
from fourdc_jax.kernels.kernel_map import xla
from fourdc_jax.kernels.kernel_map.maps import GRANULE, Downsample, Tiles
from fourdc_jax.kernels.kernel_map.sort_keys import strided_key
from fourdc_jax.kernels.kernel_map.triton_pairs import BUCKET, list_pairs, num_buckets, sum_range
from fourdc_jax.kernels.kernel_map.triton_tiles import (
    active_words,
    build_tiles,
    empty_tiles,
    padded_positions,
)
from fourdc_jax.kernels.padding import PAD_COORDINATE
from fourdc_jax.kernels.triton_call import jit, launch
from jaxtyping import Array, Int32

QUERIES = 128  # of a program of one warp, four independent probes a lane


class Numbering(NamedTuple):
    """Which fine row is the first child of which coarse row.

    Attributes:
      coords: int32 [capacity, 1 + d] of the coarse rows.
      first: int32 [n], lowest row with the same parent, -1 for padded rows.
      numbers: int32 [n], coarse row of the fine rows that are a first child; may be over capacity.
      rows_needed: int32 scalar.
    """

    coords: Int32[Array, "capacity columns"]
    first: Int32[Array, "n"]
    numbers: Int32[Array, "n"]
    rows_needed: Int32[Array, ""]


def downsample(
    coords: Int32[Array, "n columns"],
    num_rows: Int32[Array, ""],
    stride: tuple[int, ...],
    tensor_stride: tuple[int, ...],
    capacity: int,
    implementation: Literal["triton", "interpret"],
) -> Downsample:
    """Eight launches, six clears and one radix sort of one byte (two in 4D) a coarse row."""
    n, volume = coords.shape[0], math.prod(stride)
    key = strided_key(volume, capacity)
    if n == 0:
        down = xla.downsample(coords, num_rows, stride, tensor_stride, capacity)
        tiles = build_tiles(down.children + 1, down.num_rows, key, implementation)
        return down._replace(tiles=tiles, transposed_tiles=empty_tiles(volume))
    parent_coords, child = xla.parent_cells(coords, stride, tensor_stride)
    numbering = _number(parent_coords, num_rows, capacity, implementation)
    coarse_rows = jnp.minimum(numbering.rows_needed, capacity)
    buckets, fine_buckets = num_buckets(capacity), num_buckets(padded_positions(n))
    parents, children, pair_counts, fine_counts = launch(
        _join,
        [numbering.first, numbering.numbers, child],
        [
            jax.ShapeDtypeStruct((n,), jnp.int32),
            jax.ShapeDtypeStruct((volume, capacity), jnp.int32),
            jax.ShapeDtypeStruct((volume, buckets), jnp.int32),
            jax.ShapeDtypeStruct((volume + 1, fine_buckets), jnp.int32),
        ],
        zeroed=(1, 2, 3),
        grid=(padded_positions(n) // QUERIES,),
        num_warps=1,
        implementation=implementation,
        NUM_ROWS=n,
        CAPACITY=capacity,
        VOLUME=volume,
        COARSE_BUCKETS=buckets,
        FINE_BUCKETS=fine_buckets,
        BUCKET_ROWS=BUCKET,
        BLOCK=QUERIES,
    )
    return Downsample(
        coords=numbering.coords,
        num_rows=coarse_rows,
        rows_needed=numbering.rows_needed,
        num_fine_rows=num_rows,
        parents=parents,
        children=children - 1,
        pairs=list_pairs(children, pair_counts, implementation),
        tiles=build_tiles(children, coarse_rows, key, implementation),
        transposed_tiles=_transposed_tiles(parents, child, fine_counts, implementation),
    )


def _number(
    parent_coords: Int32[Array, "n columns"],
    num_rows: Int32[Array, ""],
    capacity: int,
    implementation: Literal["triton", "interpret"],
) -> Numbering:
    """A table of the parents, a search for each row's, a count of rows that find themselves."""
    n, columns = parent_coords.shape
    buckets = num_buckets(n)
    slots = insert(parent_coords, num_rows, implementation)
    first, counts = launch(
        _find_first,
        [parent_coords, num_rows, slots, no_shift(columns)],
        [
            jax.ShapeDtypeStruct((n,), jnp.int32),
            jax.ShapeDtypeStruct((buckets,), jnp.int32),
        ],
        zeroed=(1,),
        grid=(-(-n // QUERIES),),
        num_warps=1,
        implementation=implementation,
        NUM_ROWS=n,
        NUM_SLOTS=num_slots(n),
        TAG_BITS=tag_bits(n),
        COLUMNS=columns,
        BUCKET_ROWS=BUCKET,
        BLOCK=QUERIES,
    )
    numbers, coords, rows_needed = launch(
        _write_numbers,
        [parent_coords, first, counts],
        [
            jax.ShapeDtypeStruct((n,), jnp.int32),
            jax.ShapeDtypeStruct((capacity, columns), jnp.int32),
            jax.ShapeDtypeStruct((), jnp.int32),
        ],
        grid=(num_buckets(max(n, capacity)),),
        implementation=implementation,
        NUM_ROWS=n,
        CAPACITY=capacity,
        COLUMNS=columns,
        BUCKETS=buckets,
        PADDING=PAD_COORDINATE,
        BLOCK=BUCKET,
    )
    return Numbering(coords, first, numbers, rows_needed)


def _transposed_tiles(
    parents: Int32[Array, "n"],
    child: Int32[Array, "n"],
    counts: Int32[Array, "classes buckets"],
    implementation: Literal["triton", "interpret"],
) -> Tiles:
    """A counting sort by child position: every row reads its parent at one offset only."""
    (n,), (classes, buckets) = parents.shape, counts.shape
    volume, positions = classes - 1, padded_positions(n)
    rows, order, active = launch(
        _place,
        [parents, child, counts],
        [
            jax.ShapeDtypeStruct((volume, positions), jnp.int32),
            jax.ShapeDtypeStruct((positions,), jnp.int32),
            jax.ShapeDtypeStruct((positions // GRANULE, active_words(volume)), jnp.uint32),
        ],
        zeroed=(2,),
        grid=(buckets, classes),
        implementation=implementation,
        NUM_ROWS=n,
        POSITIONS=positions,
        VOLUME=volume,
        BUCKETS=buckets,
        WORDS=active_words(volume),
        GRANULE_ROWS=GRANULE,
        BLOCK=BUCKET,
    )
    return Tiles(rows, order, active)


# fmt: off

@jit
def _find_first(
    parent_coords, num_rows, slots, shifts, first, counts,
    NUM_ROWS: tl.constexpr, NUM_SLOTS: tl.constexpr, TAG_BITS: tl.constexpr, COLUMNS: tl.constexpr,
    BUCKET_ROWS: tl.constexpr, BLOCK: tl.constexpr,
):
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)                 # (BLOCK,)
    in_use = (row < NUM_ROWS) & (row < tl.load(num_rows))                # (BLOCK,)
    mixed = hash_coords(parent_coords, row, shifts, 0, in_use, COLUMNS)  # (BLOCK,)
    found = find(
        slots, parent_coords, parent_coords, row, shifts, 0, mixed, in_use,
        NUM_ROWS, NUM_SLOTS, TAG_BITS, COLUMNS,
    )                                                                    # (BLOCK,)
    tl.store(first + row, found, mask=row < NUM_ROWS)
    new = tl.sum((found == row).to(tl.int32), axis=0)
    tl.atomic_add(counts + tl.program_id(0) * BLOCK // BUCKET_ROWS, new, sem="relaxed")


@jit
def _write_numbers(
    parent_coords, first, counts, numbers, coords, rows_needed,
    NUM_ROWS: tl.constexpr, CAPACITY: tl.constexpr, COLUMNS: tl.constexpr, BUCKETS: tl.constexpr,
    PADDING: tl.constexpr, BLOCK: tl.constexpr,
):
    """Coarse coordinates too, those of padded coarse rows included."""
    bucket = tl.program_id(0)
    before = sum_range(counts, 0, tl.minimum(bucket, BUCKETS), BLOCK)
    total = before + sum_range(counts, tl.minimum(bucket, BUCKETS), BUCKETS, BLOCK)
    row = bucket * BLOCK + tl.arange(0, BLOCK)                                       # (BLOCK,)
    is_first = tl.load(first + row, mask=row < NUM_ROWS, other=-1) == row            # (BLOCK,)
    number = before + tl.cumsum(is_first.to(tl.int32), axis=0) - 1                   # (BLOCK,)
    tl.store(numbers + row, number, mask=row < NUM_ROWS)
    kept = is_first & (number < CAPACITY)                                            # (BLOCK,)
    padded = (row >= total) & (row < CAPACITY)                                       # (BLOCK,)
    for column in tl.static_range(COLUMNS):
        value = tl.load(parent_coords + row * COLUMNS + column, mask=kept, other=0)  # (BLOCK,)
        tl.store(coords + number * COLUMNS + column, value, mask=kept)
        tl.store(coords + row * COLUMNS + column, PADDING, mask=padded)
    if bucket == 0:
        tl.store(rows_needed, total)


@jit
def _join(
    first, numbers, child, parents, children, pair_counts, fine_counts,
    NUM_ROWS: tl.constexpr, CAPACITY: tl.constexpr, VOLUME: tl.constexpr,
    COARSE_BUCKETS: tl.constexpr, FINE_BUCKETS: tl.constexpr, BUCKET_ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Parents of the rows, children of the coarse rows, and what both kinds of lists count."""
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)                             # (BLOCK,)
    first_row = tl.load(first + row, mask=row < NUM_ROWS, other=-1)                  # (BLOCK,)
    parent = tl.load(numbers + first_row, mask=first_row >= 0, other=CAPACITY)       # (BLOCK,)
    joined = parent < CAPACITY                                                       # (BLOCK,)
    tl.store(parents + row, tl.where(joined, parent, -1), mask=row < NUM_ROWS)
    position = tl.load(child + row, mask=joined, other=VOLUME)                       # (BLOCK,)
    entry = position.to(tl.int64) * CAPACITY + parent                                # (BLOCK,)
    # Repeated coordinates, which break the contract of unique ones, must not break the lists too.
    previous = tl.atomic_max(children + entry, row + 1, mask=joined, sem="relaxed")  # (BLOCK,)
    coarse_bucket = position * COARSE_BUCKETS + parent // BUCKET_ROWS                # (BLOCK,)
    is_new = joined & (previous == 0)                                                # (BLOCK,)
    tl.atomic_add(pair_counts + coarse_bucket, 1, mask=is_new, sem="relaxed")
    fine_bucket = position * FINE_BUCKETS + row // BUCKET_ROWS                       # (BLOCK,)
    tl.atomic_add(fine_counts + fine_bucket, 1, sem="relaxed")


@jit
def _place(
    parents, child, counts, rows, order, active,
    NUM_ROWS: tl.constexpr, POSITIONS: tl.constexpr, VOLUME: tl.constexpr, BUCKETS: tl.constexpr,
    WORDS: tl.constexpr, GRANULE_ROWS: tl.constexpr, BLOCK: tl.constexpr,
):
    """The rows of one bucket that are the same child; rows without a parent count as one more."""
    bucket, wanted = tl.program_id(0), tl.program_id(1)
    before = sum_range(counts, 0, wanted * BUCKETS + bucket, BLOCK)
    row = bucket * BLOCK + tl.arange(0, BLOCK)                       # (BLOCK,)
    parent = tl.load(parents + row, mask=row < NUM_ROWS, other=-1)   # (BLOCK,)
    position = tl.load(child + row, mask=parent >= 0, other=VOLUME)  # (BLOCK,)
    member = (position == wanted) & (row < POSITIONS)                # (BLOCK,)
    place = before + tl.cumsum(member.to(tl.int32), axis=0) - 1      # (BLOCK,)
    tl.store(order + place, tl.where(row < NUM_ROWS, row, -1), mask=member)
    for offset in range(VOLUME):
        source = tl.where(position == offset, parent, -1)            # (BLOCK,)
        tl.store(rows + tl.cast(offset, tl.int64) * POSITIONS + place, source, mask=member)
    count = tl.sum(member.to(tl.int32), axis=0)
    if (wanted < VOLUME) & (count > 0):
        granule = before // GRANULE_ROWS + tl.arange(0, BLOCK)       # (BLOCK,)
        touched = granule * GRANULE_ROWS < before + count            # (BLOCK,)
        bit = tl.zeros((BLOCK,), tl.int32) + (1 << (wanted % 32))    # (BLOCK,)
        word = granule * WORDS + wanted // 32                        # (BLOCK,)
        tl.atomic_or(active + word, bit.to(tl.uint32, bitcast=True), mask=touched, sem="relaxed")
