"""Hash table in numba: rows are inserted one after the other and found by all threads.

The table is that of the Triton kernels, `SlotTable`, with the same hash. The lowest of rows with
equal coordinates comes first and is the only one of them that takes a slot.
"""

import jax
import jax.numpy as jnp
import numpy as np
from fourdc_jax.kernels.cpu_call import jit, launch, shared
from fourdc_jax.kernels.hash_table.slot_table import SlotTable, num_slots, tag_bits
from jaxtyping import Array, Int32

QUERIES = 1024  # of a unit of work


def build_hash_table(coords: Int32[Array, "n columns"], num_rows: Int32[Array, ""]) -> SlotTable:
    """One pass over the rows, which counts the repeated ones."""
    n = coords.shape[0]
    return SlotTable(
        *launch(
            _build,
            (coords, num_rows),
            (
                jax.ShapeDtypeStruct((num_slots(n),), jnp.int32),
                jax.ShapeDtypeStruct((), jnp.int32),
            ),
            tag_bits=tag_bits(n),
        )
    )


def lookup(
    table: SlotTable, coords: Int32[Array, "n columns"], queries: Int32[Array, "q columns"]
) -> Int32[Array, "q"]:
    """Row of each query coordinate, -1 where absent."""
    (rows,) = launch(
        _look_up,
        (table.slots, coords, queries),
        (jax.ShapeDtypeStruct(queries.shape[:1], jnp.int32),),
        tag_bits=tag_bits(coords.shape[0]),
    )
    return rows


@jit
def _build(call, coords, num_rows, slots, num_duplicates, tag_bits):
    slots[:] = 0
    repeated = 0
    for row in range(min(num_rows[()], len(coords))):
        repeated += insert(slots, coords, row, tag_bits) != row
    num_duplicates[()] = repeated


@jit
def _look_up(call, slots, coords, queries, rows, tag_bits):
    units = (len(queries) + QUERIES - 1) // QUERIES
    shifts = np.zeros((1, coords.shape[1]), np.int32)
    _look_up_queries(call, units, slots, coords, queries, shifts, rows, tag_bits)


@shared
def _look_up_queries(unit, slots, coords, queries, shifts, rows, tag_bits):
    for query in range(unit * QUERIES, min((unit + 1) * QUERIES, len(queries))):
        rows[query] = find(slots, coords, queries, query, shifts, 0, tag_bits)


@jit
def insert(slots, coords, row, tag_bits):
    """Put a row into the slots unless one with equal coordinates is there; the row that then is."""
    mixed = np.uint32(0)
    for column in range(coords.shape[1]):
        mixed = _mix(mixed, coords[row, column])
    slot, tag = _slot_and_tag(mixed, len(slots), tag_bits)
    while slots[slot] != 0:
        if slots[slot] & ((1 << tag_bits) - 1) == tag:
            other = len(coords) - (slots[slot] >> tag_bits)
            equal = True
            for column in range(coords.shape[1]):
                equal &= coords[other, column] == coords[row, column]
            if equal:
                return other
        slot = (slot + 1) & (len(slots) - 1)
    slots[slot] = ((len(coords) - row) << tag_bits) | tag
    return row


@jit
def find(slots, coords, queries, query, shifts, shift, tag_bits):
    """Row in `coords` of queries[query] + shifts[shift] in 32 bits, -1 where there is none."""
    mixed = np.uint32(0)
    for column in range(coords.shape[1]):
        mixed = _mix(mixed, queries[query, column] + shifts[shift, column])
    slot, tag = _slot_and_tag(mixed, len(slots), tag_bits)
    while slots[slot] != 0:
        if slots[slot] & ((1 << tag_bits) - 1) == tag:
            row = len(coords) - (slots[slot] >> tag_bits)
            equal = True
            for column in range(coords.shape[1]):
                wanted = np.int32(queries[query, column] + shifts[shift, column])
                equal &= coords[row, column] == wanted
            if equal:
                return row
        slot = (slot + 1) & (len(slots) - 1)
    return -1


@jit
def _mix(mixed, value):
    mixed = np.uint32(mixed * 0x9E3779B1 + value)
    return np.uint32((mixed ^ (mixed >> 16)) * 0x85EBCA6B)


@jit
def _slot_and_tag(mixed, num_slots, tag_bits):
    mixed = np.uint32((mixed ^ (mixed >> 13)) * 0xC2B2AE35)
    mixed = np.uint32(mixed ^ (mixed >> 16))
    return np.int64(mixed & (num_slots - 1)), np.int64(mixed >> (32 - tag_bits))
