"""Kernel maps and strided maps from Python dictionaries, and what must hold of their lists."""

from typing import NamedTuple

import numpy as np
from fourdc_jax.kernels.kernel_map.maps import GRANULE, ROW_MULTIPLE

from fourdc_jax import kernels


def first_rows(coords):
    """Coordinate -> the lowest row that has it."""
    first = {}
    for row, coord in enumerate(map(tuple, coords.tolist())):
        first.setdefault(coord, row)
    return first


def neighbours(coords, offsets, capacity):
    """[k, capacity]: the row at each offset of each coordinate, -1 where there is none."""
    rows = first_rows(coords)
    table = np.full((len(offsets), capacity), -1, np.int32)
    for k, offset in enumerate(offsets.tolist()):
        for row, (batch, *cell) in enumerate(coords.tolist()):
            table[k, row] = rows.get((batch, *(c + o for c, o in zip(cell, offset))), -1)
    return table


class Coarse(NamedTuple):
    """What `kernels.Downsample` says beside its lists and tiles."""

    coords: np.ndarray
    num_rows: int
    rows_needed: int
    num_fine_rows: int
    parents: np.ndarray
    children: np.ndarray


def coarsen(coords, num_padded, stride, tensor_stride, capacity):
    """The next coarser level of `coords`, behind which `num_padded` rows follow."""
    spacing = np.multiply(stride, tensor_stride)
    cells = np.floor_divide(coords[:, 1:], spacing) * spacing
    within = (coords[:, 1:] - cells) // tensor_stride
    child = within @ np.cumprod([1, *stride[:-1]])
    first = first_rows(np.insert(cells, 0, coords[:, 0], axis=1))
    numbers = {coord: number for number, coord in enumerate(first)}  # in order of first children

    coarse = np.full((capacity, coords.shape[1]), kernels.PAD_COORDINATE, np.int32)
    for coord, number in list(numbers.items())[:capacity]:
        coarse[number] = coord
    parents = np.full(len(coords) + num_padded, -1, np.int32)
    children = np.full((np.prod(stride), capacity), -1, np.int32)
    for row, (batch, cell) in enumerate(zip(coords[:, 0].tolist(), cells.tolist())):
        number = numbers[(batch, *cell)]
        if number < capacity:
            parents[row] = number
            children[child[row], number] = row
    needed = len(numbers)
    return Coarse(coarse, min(needed, capacity), needed, len(coords), parents, children)


def transposed(coarse):
    """[k, n]: the coarse row that each fine row reads, at the offset that is its child position."""
    table = np.full((len(coarse.children), len(coarse.parents)), -1, np.int32)
    offset, parent = np.nonzero(coarse.children >= 0)
    table[offset, coarse.children[offset, parent]] = parent
    return table


def assert_pairs_list(pairs, table):
    """List k holds the pairs of row k of the table, in order of output rows."""
    np.testing.assert_array_equal(pairs.counts, (table >= 0).sum(1))
    for inputs, outputs, row in zip(*map(np.asarray, pairs[:2]), table):
        exists = np.flatnonzero(row >= 0)
        np.testing.assert_array_equal(outputs[: len(exists)], exists)
        np.testing.assert_array_equal(inputs[: len(exists)], row[exists])


def assert_tiles_hold(tiles, table, last):
    """The table's columns in the order of the tiles, a permutation; `last` come last, in order."""
    rows, order, active = map(np.asarray, tiles)
    volume, n = table.shape
    assert rows.shape == (volume, -(-n // ROW_MULTIPLE) * ROW_MULTIPLE)
    assert sorted(order[:n].tolist()) == list(range(n))
    np.testing.assert_array_equal(order[n - len(last) : n], last)
    assert (order[n:] == -1).all()
    padded = np.pad(table, ((0, 0), (0, 1)), constant_values=-1)  # column -1
    np.testing.assert_array_equal(rows, padded[:, order])
    exists = (rows >= 0).reshape(volume, -1, GRANULE).any(2).T  # [granules, k]
    bits = np.unpackbits(active.view(np.uint8), axis=1, bitorder="little")
    np.testing.assert_array_equal(bits[:, :volume], exists)
    assert not bits[:, volume:].any()
