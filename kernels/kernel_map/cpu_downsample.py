"""The next coarser level in numba: a pass over the fine rows numbers voxels as they appear."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from fourdc_jax.kernels.cpu_call import jit, launch, shared
from fourdc_jax.kernels.hash_table.cpu import insert
from fourdc_jax.kernels.hash_table.slot_table import num_slots, tag_bits
from fourdc_jax.kernels.kernel_map.maps import Downsample
from fourdc_jax.kernels.padding import PAD_COORDINATE
from jaxtyping import Array, Int32

ROWS = 1024  # of a unit of work


def downsample(
    coords: Int32[Array, "n columns"],
    num_rows: Int32[Array, ""],
    stride: tuple[int, ...],
    tensor_stride: tuple[int, ...],
    capacity: int,
) -> Downsample:
    """Two passes that all threads share, and between them one that numbers the voxels."""
    (n, columns), volume = coords.shape, math.prod(stride)
    shapes = ((capacity, columns), (), (), (n,), (volume, capacity), (volume, n))
    coarse, coarse_rows, rows_needed, parents, children, transposed_rows = launch(
        _downsample,
        (
            coords,
            num_rows,
            jnp.array([1, *tensor_stride], jnp.int32),
            jnp.array([1, *stride], jnp.int32),
        ),
        [jax.ShapeDtypeStruct(shape, jnp.int32) for shape in shapes],
        num_slots=num_slots(n),
        tag_bits=tag_bits(n),
    )
    return Downsample(
        coords=coarse,
        num_rows=coarse_rows,
        rows_needed=rows_needed,
        num_fine_rows=num_rows,
        parents=parents,
        children=children,
        pairs=None,
        transposed_rows=transposed_rows,
    )


@jit
def _downsample(
    call, coords, num_rows, tensor_stride, stride,
    coarse, coarse_rows, rows_needed, parents, children, transposed_rows, num_slots, tag_bits,
):  # fmt: skip
    (n, columns), capacity = coords.shape, len(coarse)
    valid = max(0, min(num_rows[()], n))
    parent_coords = np.empty((valid, columns), np.int32)
    positions = np.empty(valid, np.int32)  # as a child of its parent
    _find_parents(
        call, (valid + ROWS - 1) // ROWS, coords, tensor_stride, stride, parent_coords, positions
    )
    children[...] = -1
    slots = np.zeros(num_slots, np.int32)
    count = 0
    for row in range(valid):
        first = _first_child(slots, parent_coords, row, tag_bits)
        if first < row:
            number = parents[first]
        else:
            number = count if count < capacity else -1
            if number >= 0:
                for column in range(columns):
                    coarse[number, column] = parent_coords[row, column]
            count += 1
        parents[row] = number
        if number >= 0:
            children[positions[row], number] = row
    parents[valid:] = -1
    coarse[count:] = PAD_COORDINATE
    rows_needed[()] = count
    coarse_rows[()] = min(count, capacity)
    _write_transposed(call, (n + ROWS - 1) // ROWS, parents, positions, transposed_rows)


@jit
def _first_child(slots, parent_coords, row, tag_bits):
    """A row with the same parent: the row before, or the first of all; the row itself if none."""
    if row > 0:
        same = True
        for column in range(parent_coords.shape[1]):
            same &= parent_coords[row, column] == parent_coords[row - 1, column]
        if same:
            return row - 1
    return insert(slots, parent_coords, row, tag_bits)


@shared
def _find_parents(unit, coords, tensor_stride, stride, parent_coords, positions):
    """Coordinates of the parent of some rows, and which child of it each row is."""
    begin, end = unit * ROWS, min((unit + 1) * ROWS, len(parent_coords))
    positions[begin:end] = 0
    step = 1
    for column in range(coords.shape[1]):
        cell, children = np.int64(tensor_stride[column]), np.int64(stride[column])
        exponent = _exponent(cell) if _exponent(children) >= 0 else -1
        for row in range(begin, end):
            value, spacing = np.int64(coords[row, column]), cell * children
            if exponent >= 0:  # without divisions
                parent = value & -spacing
                child = (value - parent) >> exponent
            else:
                parent = value // spacing * spacing
                child = (value - parent) // cell
            parent_coords[row, column] = parent
            positions[row] += child * step
        step *= children


@jit
def _exponent(number):
    """Of a power of two; -1 for another number."""
    exponent = 0
    while number >> exponent > 1:
        exponent += 1
    return exponent if number == 1 << exponent else -1


@shared
def _write_transposed(unit, parents, positions, transposed_rows):
    """The map read backwards for some fine rows."""
    begin, end = unit * ROWS, min((unit + 1) * ROWS, len(parents))
    for position in range(len(transposed_rows)):
        transposed_rows[position, begin:end] = -1
    for row in range(begin, min(end, len(positions))):
        transposed_rows[positions[row], row] = parents[row]
