"""Coordinates packed into one integer each, so that sorted integers are sorted coordinates.

The columns of a coordinate lie in a key one after the other, the last in the lowest bits, each
counted from its least value. Every axis has room for the largest offset of a kernel on both sides,
so that the key of a neighbour is the key plus a number that depends on the offset alone.
"""

import numpy as np
from fourdc_jax.kernels.cpu_call import jit

KEY_BITS = 62  # a neighbour's key stays below those that mark ends
DIGIT_BITS = 11  # of a key that a pass of the sort looks at, at most


@jit
def plan_keys(coords, num_rows, offsets, spacing, least_last_bits, low, places):
    """Find the least value and the place in a key of every column; bits of a key, 0 if too many.

    Args:
      coords: int32 [n, 1 + d], of which the first `num_rows`, at least one, hold data.
      offsets: int32 [k, d], to which keys have room.
      spacing: of the values of the last column that keys tell apart.
      least_last_bits: of the last column.
      low, places: int64 [1 + d] to be written.
    """
    columns = coords.shape[1]
    high, margins = np.empty(columns, np.int64), np.zeros(columns, np.int64)
    for column in range(columns):
        low[column] = high[column] = coords[0, column]
    for row in range(1, num_rows):
        for column in range(columns):
            low[column] = min(low[column], coords[row, column])
            high[column] = max(high[column], coords[row, column])
    for number in range(len(offsets)):
        for column in range(1, columns):
            margins[column] = max(margins[column], abs(offsets[number, column - 1]))
    bits = 0
    for column in range(columns - 1, -1, -1):
        low[column] -= margins[column]
        high[column] += margins[column]
        if low[column] < -(2**31) or high[column] >= 2**31:
            return 0  # 32-bit coordinates wrap around here, keys do not
        span, own_bits = high[column] - low[column], 0
        if column == columns - 1:
            span, own_bits = span // spacing, least_last_bits
        while span >> own_bits:
            own_bits += 1
        places[column] = bits
        bits += own_bits
    return bits if bits <= KEY_BITS else 0


@jit
def pack_keys(coords, spacing, low, places, keys):
    """Write the keys of the first rows; whether they exist and whether they rise from row to row.

    They do not exist where a value of the last column is no multiple of the spacing.
    """
    last = coords.shape[1] - 1
    exist, rising = True, True
    previous = np.int64(-1)
    for row in range(len(keys)):
        cell = np.uint32(coords[row, last] - low[last])
        if spacing > 1:
            exist &= cell % np.uint32(spacing) == 0
            cell //= np.uint32(spacing)
        key = np.int64(cell)
        for column in range(last):
            key |= (coords[row, column] - low[column]) << places[column]
        keys[row] = key
        rising &= key > previous
        previous = key
    return exist, rising


@jit
def sort_keys(keys, bits):
    """Keys in order and the rows that have them, lower rows of equal keys first: a radix sort."""
    rows, other_rows = np.empty(len(keys), np.int32), np.empty(len(keys), np.int32)
    other_keys = np.empty(len(keys), np.int64)
    for row in range(len(keys)):
        rows[row] = row
    passes = (bits + DIGIT_BITS - 1) // DIGIT_BITS
    digit_bits = (bits + passes - 1) // passes
    mask = (1 << digit_bits) - 1
    ends = np.empty(1 << digit_bits, np.int64)
    for number in range(passes):
        shift = number * digit_bits
        ends[:] = 0
        for key in keys:
            ends[(key >> shift) & mask] += 1
        total = 0
        for digit in range(len(ends)):  # counts become beginnings
            total, ends[digit] = total + ends[digit], total
        for position in range(len(keys)):
            digit = (keys[position] >> shift) & mask
            other_keys[ends[digit]] = keys[position]
            other_rows[ends[digit]] = rows[position]
            ends[digit] += 1
        keys, rows, other_keys, other_rows = other_keys, other_rows, keys, rows
    return keys, rows
