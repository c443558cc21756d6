"""Points to unique voxels, in lexicographic order, with the row of every point.

Coordinates are packed into one integer key, a field of bits for each axis, the first axis in the
highest bits: keys sort as coordinates do, and a coarser level is a shift of each field.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32, Int64

DIGIT_BITS = 16  # NumPy sorts integers of at most 16 bits by counting, in linear time

# Of a network's levels after the first: one tuple a level with a power of two for each axis, each
# a multiple of the one before.
LevelStrides = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Packing:
    """How coordinates of `len(bits)` axes become keys: `low` is subtracted, `bits` are kept."""

    low: tuple[int, ...]
    bits: tuple[int, ...]

    def pack(self, columns: Int32[np.ndarray, "d n"]) -> Int64[np.ndarray, "n"]:
        """Keys of coordinates, one row of `columns` an axis."""
        keys = columns[0].astype(np.int64) - self.low[0]
        for column, low, bits in zip(columns[1:], self.low[1:], self.bits[1:]):
            keys <<= bits
            keys += column
            keys -= low
        return keys

    def unpack(self, keys: Int64[np.ndarray, "n"]) -> Int32[np.ndarray, "n d"]:
        """Coordinates of keys."""
        coords = np.empty((len(keys), len(self.bits)), np.int32)
        for axis in reversed(range(len(self.bits))):
            coords[:, axis] = (keys & ((1 << self.bits[axis]) - 1)) + self.low[axis]
            keys = keys >> self.bits[axis]
        return coords


def choose_packing(columns: Int32[np.ndarray, "d n"], alignment: tuple[int, ...]) -> Packing:
    """A packing that holds the given coordinates, with `low` a multiple of the alignment.

    The aligned packing of an axis holds floor(coordinate / s) as a shift of its field for every
    power of two s up to the alignment.

    Raises:
      ValueError: the coordinates need more than 63 bits.
    """
    low, bits = [], []
    for column, step in zip(columns, alignment):
        least, most = (int(column.min()), int(column.max())) if len(column) else (0, 0)
        low.append(least // step * step)
        bits.append(max(most - low[-1], step - 1).bit_length())
    if sum(bits) > 63:
        raise ValueError(f"coordinates need {bits} bits on their axes, together more than 63")
    return Packing(tuple(low), tuple(bits))


def quantize(points: Float32[np.ndarray, "n 3"], voxel: float) -> Int32[np.ndarray, "3 n"]:
    """floor(points / voxel), computed in double precision, one row an axis."""
    return np.floor(points.T.astype(np.float64, order="C") / voxel).astype(np.int32)


def argsort_keys(keys: Int64[np.ndarray, "n"], bits: int) -> Int[np.ndarray, "n"]:
    """Stable order of keys of so many bits: a radix sort with a pass for every 16.

    Voxel keys have 20 to 32 bits: two passes of counting take a quarter of the time that a
    comparison sort of 64-bit integers does.
    """
    order = np.argsort(keys.astype(np.uint16), kind="stable")  # the cast keeps the lowest bits
    for shift in range(DIGIT_BITS, bits, DIGIT_BITS):
        digit = (keys >> shift).astype(np.uint16)
        order = order[np.argsort(digit[order], kind="stable")]
    return order


def mark_first(ordered: Int64[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """True at the first of each run of equal keys."""
    first = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return first


def unique_keys(
    keys: Int64[np.ndarray, "n"], bits: int
) -> tuple[Int64[np.ndarray, "v"], Int32[np.ndarray, "n"]]:
    """Unique keys in ascending order, and for each given one its row among them."""
    order = argsort_keys(keys, bits)
    ordered = keys[order]
    first = mark_first(ordered)
    rows = np.empty(len(keys), np.int32)
    rows[order] = np.cumsum(first, dtype=np.int32) - np.int32(1)
    return ordered[first], rows


class Voxels(NamedTuple):
    """The voxels that points occupy.

    Attributes:
      coords: unique and sorted.
      rows: of the points: the row of `coords` that each one lies in.
      needed: rows at every level, the finest first.
    """

    coords: Int32[np.ndarray, "v d"]
    rows: Int32[np.ndarray, "n"]
    needed: tuple[int, ...]


def find_voxels(columns: Int32[np.ndarray, "d n"], strides: LevelStrides) -> Voxels:
    """The voxels of quantised points, see `quantize`, and what the levels need for them."""
    packing = choose_packing(columns, coarsest(strides, len(columns)))
    keys, rows = unique_keys(packing.pack(columns), sum(packing.bits))
    needed = (len(keys), *count_coarse_rows(keys, packing, strides))
    return Voxels(packing.unpack(keys), rows, needed)


def count_rows(coords: Int32[np.ndarray, "v d"], strides: LevelStrides) -> tuple[int, ...]:
    """Rows at every level, the finest first, of unique and sorted coordinates."""
    columns = np.ascontiguousarray(coords.T)
    packing = choose_packing(columns, coarsest(strides, len(columns)))
    return (len(coords), *count_coarse_rows(packing.pack(columns), packing, strides))


def coarsest(strides: LevelStrides, dimension: int) -> tuple[int, ...]:
    """Strides of the last level; 1 where there is only the first."""
    return strides[-1] if strides else (1,) * dimension


def reduce_to_voxels(points: Float32[np.ndarray, "n 3"], voxel: float) -> Int[np.ndarray, "v"]:
    """Indices of the first point in every occupied voxel, in the voxels' order."""
    columns = quantize(points, voxel)
    packing = choose_packing(columns, (1, 1, 1))
    keys = packing.pack(columns)
    order = argsort_keys(keys, sum(packing.bits))  # stable: a run starts with its lowest index
    return order[mark_first(keys[order])]


def count_coarse_rows(
    keys: Int64[np.ndarray, "v"], packing: Packing, strides: LevelStrides
) -> tuple[int, ...]:
    """Rows of every coarser level: number of unique floor(coordinates / stride), each stride.

    A level is counted on the rows of the finer one; the packing is aligned to the last.
    """
    counts = []
    bits = list(packing.bits)
    before = (1,) * len(bits)
    for stride in strides:
        shifts = [(now // then).bit_length() - 1 for now, then in zip(stride, before)]
        coarse = np.zeros_like(keys)
        offset, shifted_offset = sum(bits), sum(bits) - sum(shifts)
        for axis, shift in enumerate(shifts):
            offset, shifted_offset = offset - bits[axis], shifted_offset - (bits[axis] - shift)
            field = (keys >> (offset + shift)) & ((1 << (bits[axis] - shift)) - 1)
            coarse |= field << shifted_offset
            bits[axis] -= shift
        coarse = coarse[mark_first(coarse)]  # neighbours along the last axis, before sorting
        keys = coarse[argsort_keys(coarse, sum(bits))]
        keys = keys[mark_first(keys)]
        counts.append(len(keys))
        before = stride
    return tuple(counts)
