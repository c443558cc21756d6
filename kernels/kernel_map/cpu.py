"""Submanifold maps in numba: by joining sorted keys, or by a hash table where keys are too long."""

import jax
import jax.numpy as jnp
import numpy as np
from fourdc_jax.kernels.cpu_call import jit, launch
from fourdc_jax.kernels.hash_table.cpu import find, insert
from fourdc_jax.kernels.hash_table.slot_table import num_slots, tag_bits
from fourdc_jax.kernels.kernel_map.cpu_blocks import CELL_BITS, LARGEST_RADIUS, mark_blocks
from fourdc_jax.kernels.kernel_map.cpu_keys import pack_keys, plan_keys, sort_keys
from fourdc_jax.kernels.kernel_map.cpu_rows import (
    ROWS,
    copy_repeated,
    drop_repeated,
    group_offsets,
    join_unit,
)
from fourdc_jax.kernels.kernel_map.maps import KernelMap
from jaxtyping import Array, Int32


def build_kernel_map(
    coords: Int32[Array, "n columns"], num_rows: Int32[Array, ""], offsets: Int32[np.ndarray, "k d"]
) -> KernelMap:
    """One kernel; where coordinates repeat it writes what the XLA implementation writes."""
    n = coords.shape[0]
    groups = group_offsets(offsets)
    arrays = (offsets, groups.shifts, groups.starts, groups.cells, groups.members)
    (rows,) = launch(
        _build,
        (coords, num_rows, *map(jnp.asarray, arrays)),
        (jax.ShapeDtypeStruct((len(offsets), n), jnp.int32),),
        spacing=groups.spacing,
        radius=groups.radius,
        num_slots=num_slots(n),
        tag_bits=tag_bits(n),
    )
    return KernelMap(rows, num_rows, pairs=None)


@jit
def _build(
    call, coords, num_rows, offsets, shifts, starts, cells, members, rows,
    spacing, radius, num_slots, tag_bits,
):  # fmt: skip
    n, columns = coords.shape
    valid = max(0, min(num_rows[()], n))
    low, places, bits = np.empty(columns, np.int64), np.empty(columns, np.int64), 0
    if valid > 0 and radius <= LARGEST_RADIUS:
        bits = plan_keys(coords, valid, offsets, spacing, CELL_BITS, low, places)
    keys = np.empty(valid if bits > 0 else 0, np.int64)
    exist, rising = pack_keys(coords, spacing, low, places, keys)
    if bits == 0 or not exist:
        _look_up(coords, valid, offsets, rows, num_slots, tag_bits)
        return
    order = lowest = highest = np.empty(0, np.int32)
    voxels = valid
    if not rising:
        keys, order = sort_keys(keys, bits)
        lowest, highest = np.empty(valid, np.int32), np.empty(valid, np.int32)
        voxels = drop_repeated(keys, order, lowest, highest)
    block_of = np.empty(voxels, np.int32)
    blocks = np.empty(2 * voxels + 1, np.int64)
    words, firsts = np.empty(2 * voxels + 1, np.uint32), np.empty(2 * voxels + 1, np.int32)
    num_blocks = mark_blocks(keys[:voxels], radius, block_of, blocks, words, firsts)
    join_unit(
        call, (n + ROWS - 1) // ROWS, keys[:voxels], block_of, blocks[: num_blocks + 1],
        words, firsts, shifts, places, starts, cells, members, lowest, highest, valid, rows,
    )  # fmt: skip
    if voxels < valid:
        copy_repeated(order, lowest[:voxels], rows)


@jit
def _look_up(coords, num_rows, offsets, rows, num_slots, tag_bits):
    """The map by a hash table, for any coordinates: far from each other, or not on their grid."""
    slots = np.zeros(num_slots, np.int32)
    for row in range(num_rows):
        insert(slots, coords, row, tag_bits)
    centre, columns = len(offsets) // 2, coords.shape[1]
    moves = np.zeros((centre, columns), np.int32)
    rows[...] = -1
    for offset in range(centre):
        for column in range(1, columns):
            moves[offset, column] = offsets[offset, column - 1]
        for row in range(num_rows):
            found = find(slots, coords, coords, row, moves, offset, tag_bits)
            rows[offset, row] = found
            if found >= 0:
                rows[len(rows) - 1 - offset, found] = row
    for row in range(num_rows):
        rows[centre, row] = row
