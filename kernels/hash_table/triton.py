"""Hash table in Triton: deterministic linear probing without compare-and-swap.

Larger slot values are lower rows. An item that meets a larger one moves on, and one that meets a
smaller one takes the slot and sends the smaller on (Shun and Blelloch, "Phase-concurrent hash
tables for determinism", 2014): both cases are one atomic maximum. Whatever the order of arrival,
every slot between an item's first slot and its own holds a larger value, so that a search meets
the lowest of rows with equal coordinates first.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import triton.language as tl
from fourdc_jax.kernels.hash_table.slot_table import SlotTable, num_slots, tag_bits
from fourdc_jax.kernels.padding import valid_rows
from fourdc_jax.kernels.triton_call import jit, launch
from jaxtyping import Array, Int32

INSERTED_ROWS = 32  # of a program of one warp: a long probe holds few rows up
QUERIES = 128  # of a program of one warp, four independent probes a lane


def build_hash_table(
    coords: Int32[Array, "n columns"],
    num_rows: Int32[Array, ""],
    implementation: Literal["triton", "interpret"],
) -> SlotTable:
    """One launch and a clear; a lookup and a sum more where `num_duplicates` is read."""
    n = coords.shape[0]
    if n == 0:
        return SlotTable(jnp.zeros(num_slots(0), jnp.int32), jnp.int32(0))
    slots = insert(coords, num_rows, implementation)
    own = jnp.arange(n, dtype=jnp.int32)
    found = lookup(SlotTable(slots, jnp.int32(0)), coords, coords, implementation)
    duplicates = jnp.sum(valid_rows(n, num_rows) & (found != own), dtype=jnp.int32)
    return SlotTable(slots, duplicates)


def insert(
    coords: Int32[Array, "n columns"],
    num_rows: Int32[Array, ""],
    implementation: Literal["triton", "interpret"],
) -> Int32[Array, "slots"]:
    """The slots of a table of the first `num_rows` coordinates, n at least 1."""
    n, columns = coords.shape
    (slots,) = launch(
        _insert,
        [coords, num_rows, no_shift(columns)],
        [jax.ShapeDtypeStruct((num_slots(n),), jnp.int32)],
        zeroed=(0,),
        grid=(-(-n // INSERTED_ROWS),),
        num_warps=1,
        implementation=implementation,
        CAPACITY=n,
        NUM_SLOTS=num_slots(n),
        TAG_BITS=tag_bits(n),
        COLUMNS=columns,
        BLOCK=INSERTED_ROWS,
    )
    return slots


def lookup(
    table: SlotTable,
    coords: Int32[Array, "n columns"],
    queries: Int32[Array, "q columns"],
    implementation: Literal["triton", "interpret"],
) -> Int32[Array, "q"]:
    """Row of each query coordinate, -1 where absent: one launch."""
    (n, columns), q = coords.shape, queries.shape[0]
    if n == 0 or q == 0:
        return jnp.full(q, -1, jnp.int32)
    (rows,) = launch(
        _lookup,
        [table.slots, coords, queries, no_shift(columns)],
        [jax.ShapeDtypeStruct((q,), jnp.int32)],
        grid=(-(-q // QUERIES),),
        num_warps=1,
        implementation=implementation,
        CAPACITY=n,
        NUM_SLOTS=num_slots(n),
        TAG_BITS=tag_bits(n),
        COLUMNS=columns,
        NUM_QUERIES=q,
        BLOCK=QUERIES,
    )
    return rows


def no_shift(columns: int) -> Int32[Array, "1 columns"]:
    """The one shift of searches for the queries themselves."""
    return jnp.zeros((1, columns), jnp.int32)


# fmt: off

@jit
def hash_coords(coords, row, shifts, shift, active, COLUMNS: tl.constexpr):
    """Murmur3-style mix of coords[row] + shifts[shift], in the shape B that both broadcast to."""
    mixed = (row * 0 + shift * 0).to(tl.uint32)                                 # B  # B
    for column in tl.static_range(COLUMNS):
        value = tl.load(coords + row * COLUMNS + column, mask=active, other=0)  # B  # B
        value += tl.load(shifts + shift * COLUMNS + column)                     # B  # B
        mixed = mixed * 0x9E3779B1 + value.to(tl.uint32, bitcast=True)          # B  # B
        mixed = (mixed ^ (mixed >> 16)) * 0x85EBCA6B                            # B  # B
    mixed = (mixed ^ (mixed >> 13)) * 0xC2B2AE35                                # B  # B
    return mixed ^ (mixed >> 16)                                                # B  # B


@jit
def find(
    slots, coords, queries, row, shifts, shift, mixed, active,
    CAPACITY: tl.constexpr, NUM_SLOTS: tl.constexpr, TAG_BITS: tl.constexpr, COLUMNS: tl.constexpr,
):
    """Row of queries[row] + shifts[shift] in `coords`, -1 where absent or not active.

    `mixed` is what `hash_coords` gave for the same queries. B is the shape that `row` and `shift`
    broadcast to.
    """
    slot = (mixed & (NUM_SLOTS - 1)).to(tl.int32)                                        # B  # B
    tag = (mixed >> (32 - TAG_BITS)).to(tl.int32)                                        # B  # B
    found = slot * 0 - 1                                                                 # B  # B
    while tl.max(active.to(tl.int32), axis=None) > 0:
        value = tl.load(slots + slot, mask=active, other=0)                              # B  # B
        candidate = CAPACITY - (value >> TAG_BITS)                                       # B  # B
        equal = active & (value != 0) & ((value & ((1 << TAG_BITS) - 1)) == tag)         # B  # B
        for column in tl.static_range(COLUMNS):
            query = tl.load(queries + row * COLUMNS + column, mask=equal, other=0)       # B  # B
            query += tl.load(shifts + shift * COLUMNS + column)                          # B  # B
            known = tl.load(coords + candidate * COLUMNS + column, mask=equal, other=0)  # B  # B
            equal &= query == known                                                      # B  # B
        found = tl.where(equal, candidate, found)                                        # B  # B
        active = active & (value != 0) & (equal == 0)                                    # B  # B
        slot = (slot + 1) & (NUM_SLOTS - 1)                                              # B  # B
    return found


@jit
def _insert(
    coords, num_rows, shifts, slots,
    CAPACITY: tl.constexpr, NUM_SLOTS: tl.constexpr, TAG_BITS: tl.constexpr, COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)                               # (BLOCK,)
    active = (row < tl.load(num_rows)) & (row < CAPACITY)                              # (BLOCK,)
    mixed = hash_coords(coords, row, shifts, 0, active, COLUMNS)                       # (BLOCK,)
    slot = (mixed & (NUM_SLOTS - 1)).to(tl.int32)                                      # (BLOCK,)
    tag = (mixed >> (32 - TAG_BITS)).to(tl.int32)                                      # (BLOCK,)
    carried = ((CAPACITY - row) << TAG_BITS) | tag                                     # (BLOCK,)
    TAG: tl.constexpr = (1 << TAG_BITS) - 1
    while tl.max(active.to(tl.int32), axis=None) > 0:
        previous = tl.atomic_max(slots + slot, carried, mask=active, sem="relaxed")    # (BLOCK,)
        # Of two rows with equal coordinates the higher is dropped. The lower one stays in the
        # table or gave way to a still lower one, so that the lowest of all is always in it.
        repeated = active & (previous != 0)                                            # (BLOCK,)
        repeated &= (previous & TAG) == (carried & TAG)                                # (BLOCK,)
        one = CAPACITY - (previous >> TAG_BITS)                                        # (BLOCK,)
        other = CAPACITY - (carried >> TAG_BITS)                                       # (BLOCK,)
        for column in tl.static_range(COLUMNS):
            value = tl.load(coords + one * COLUMNS + column, mask=repeated, other=0)   # (BLOCK,)
            kept = tl.load(coords + other * COLUMNS + column, mask=repeated, other=0)  # (BLOCK,)
            repeated &= value == kept                                                  # (BLOCK,)
        active = active & (previous != 0) & (repeated == 0)                            # (BLOCK,)
        carried = tl.minimum(carried, previous)                                        # (BLOCK,)
        slot = (slot + 1) & (NUM_SLOTS - 1)                                            # (BLOCK,)


@jit
def _lookup(
    slots, coords, queries, shifts, rows,
    CAPACITY: tl.constexpr, NUM_SLOTS: tl.constexpr, TAG_BITS: tl.constexpr, COLUMNS: tl.constexpr,
    NUM_QUERIES: tl.constexpr, BLOCK: tl.constexpr,
):
    query = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)           # (BLOCK,)
    active = query < NUM_QUERIES                                     # (BLOCK,)
    mixed = hash_coords(queries, query, shifts, 0, active, COLUMNS)  # (BLOCK,)
    found = find(
        slots, coords, queries, query, shifts, 0, mixed, active,
        CAPACITY, NUM_SLOTS, TAG_BITS, COLUMNS,
    )                                                                # (BLOCK,)
    tl.store(rows + query, found, mask=active)
