"""Submanifold maps by joining sorted coordinates with themselves, once for each group of offsets.

A group are the offsets that differ on the last axis only. All voxels of a block, moved by what the
group's offsets have in common, lie in one other block; both blocks rise together, so that one walk
over the blocks finds these pairs for a whole group. The word of the other block then answers every
offset of the group for every voxel.
"""

from typing import NamedTuple

import numpy as np
from fourdc_jax.kernels.cpu_call import jit, shared
from fourdc_jax.kernels.kernel_map.cpu_blocks import CELL_BITS, count_bits
from jaxtyping import Int32

ROWS = 1024  # of a unit of work


class OffsetGroups(NamedTuple):
    """The offsets of a kernel by what they have in common on all axes but the last.

    Attributes:
      shifts: columns of a coordinate but the last, the batch among them.
      starts: first entry of each group in `cells` and `members`, and their length.
      cells: offset on the last axis in units of the spacing, counted from the least one possible.
      members: number of the offset in the kernel.
      spacing: greatest common divisor of the offsets on the last axis.
      radius: their largest absolute value in units of it.
    """

    shifts: Int32[np.ndarray, "groups d"]
    starts: Int32[np.ndarray, "groups_plus_one"]
    cells: Int32[np.ndarray, "k"]
    members: Int32[np.ndarray, "k"]
    spacing: int
    radius: int


def group_offsets(offsets: Int32[np.ndarray, "k d"]) -> OffsetGroups:
    """Sort the offsets into groups, in an order that keeps neighbouring words in the cache."""
    spacing = int(np.gcd.reduce(offsets[:, -1])) or 1
    cells = offsets[:, -1] // spacing
    radius = int(np.abs(cells).max())
    shared_axes = np.pad(offsets[:, :-1], ((0, 0), (1, 0)))  # [k, d]
    shifts, group = np.unique(shared_axes, axis=0, return_inverse=True)
    members = np.lexsort((cells, group))
    starts = np.searchsorted(group[members], np.arange(len(shifts) + 1))
    narrow = [a.astype(np.int32) for a in (shifts, starts, cells[members] + radius, members)]
    return OffsetGroups(*narrow, spacing, radius)


@jit
def drop_repeated(keys, order, lowest, highest):
    """Move the different ones of sorted keys to the front, and name the rows that have them.

    Args:
      keys: [n], rising from now on.
      order: [n], rows of the keys, rising where the keys are equal.
      lowest, highest: [n], first and last row of each different key, to be written.

    Returns:
      How many different keys there are.
    """
    count = 0
    for position in range(len(keys)):
        if position == 0 or keys[position] != keys[count - 1]:
            keys[count], lowest[count] = keys[position], order[position]
            count += 1
        highest[count - 1] = order[position]
    return count


@jit
def copy_repeated(order, lowest, rows):
    """Rows that repeat a coordinate read what its lowest row reads, and only they read them."""
    half = len(rows) // 2
    voxel = -1
    for row in order:
        if voxel + 1 < len(lowest) and row == lowest[voxel + 1]:
            voxel += 1
            continue
        for offset in range(len(rows)):
            rows[offset, row] = rows[offset, lowest[voxel]] if offset < half else -1
        rows[half, row] = row


@shared
def join_unit(
    unit, keys, block_of, blocks, words, firsts, shifts, places, starts, cells, members,
    lowest, highest, num_rows, rows,
):  # fmt: skip
    """Write the map of some voxels, and that of as many rows beyond the data.

    Args:
      keys: int64 [voxels], rising; `places` says where the columns are.
      block_of, blocks, words, firsts: see `mark_blocks`.
      shifts, starts, cells, members: see `OffsetGroups`.
      lowest, highest: rows of each key, [0] where the voxels are the rows in order.
      num_rows: rows that hold data.
      rows: int32 [k, n] to be written.
    """
    begin = unit * ROWS
    for offset in range(len(rows)):
        rows[offset, max(begin, num_rows) : begin + ROWS] = -1
    end = min(begin + ROWS, len(keys))
    if begin >= end:
        return
    own_cells = np.empty(end - begin, np.uint32)
    for voxel in range(begin, end):
        own_cells[voxel - begin] = np.uint32(keys[voxel] & ((1 << CELL_BITS) - 1))
    first_block, end_block = block_of[begin], block_of[end - 1] + 1
    block_words = np.empty(end_block - first_block, np.uint32)
    block_firsts = np.empty(end_block - first_block, np.int32)
    voxel_words, voxel_firsts = np.empty(end - begin, np.uint32), np.empty(end - begin, np.int32)
    found = np.empty(end - begin, np.int32)
    for group in range(len(shifts)):
        move = np.int64(0)  # of a block's key
        for column in range(shifts.shape[1]):
            move += np.int64(shifts[group, column]) << (places[column] - CELL_BITS)
        _find_blocks(blocks, words, firsts, first_block, move, block_words, block_firsts)
        for voxel in range(begin, end):
            block = block_of[voxel] - first_block
            voxel_words[voxel - begin] = block_words[block]
            voxel_firsts[voxel - begin] = block_firsts[block]
        for entry in range(starts[group], starts[group + 1]):
            offset = members[entry]
            if len(lowest) == 0:  # the rows are the voxels in order
                found = rows[offset, begin:end]
            _find_voxels(voxel_words, voxel_firsts, own_cells, cells[entry], found)
            if len(lowest) > 0:
                sources = lowest if offset <= len(rows) // 2 else highest
                _write_found(found, lowest[begin:end], sources, rows[offset])


@jit
def _find_blocks(blocks, words, firsts, first_block, move, found_words, found_firsts):
    """Words and first voxels of the blocks that some blocks meet when moved; a word 0 if none."""
    other = _first_not_below(blocks, blocks[first_block] + move)
    for number in range(len(found_words)):
        wanted = blocks[first_block + number] + move
        while blocks[other] < wanted:
            other += 1
        found_words[number] = words[other] if blocks[other] == wanted else np.uint32(0)
        found_firsts[number] = firsts[other]


@jit
def _first_not_below(blocks, wanted):
    begin, end = 0, len(blocks)
    while begin < end:
        middle = (begin + end) // 2
        if blocks[middle] < wanted:
            begin = middle + 1
        else:
            end = middle
    return begin


@jit
def _find_voxels(words, firsts, own_cells, cell, found):
    """The voxel at one offset of each voxel, -1 where there is none; compiled to vectors."""
    for number in range(len(found)):
        bit = own_cells[number] + np.uint32(cell)
        below = words[number] & ((np.uint32(1) << bit) - np.uint32(1))
        voxel = np.int32(firsts[number] + np.int32(count_bits(below)))
        found[number] = voxel if (words[number] >> bit) & np.uint32(1) else np.int32(-1)


@jit
def _write_found(found, own_rows, sources, rows):
    """The voxels found, as rows, where the voxels' own rows are not in order."""
    for number in range(len(found)):
        voxel = found[number]
        rows[own_rows[number]] = sources[voxel] if voxel >= 0 else -1
