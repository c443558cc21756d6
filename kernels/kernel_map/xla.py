"""Kernel maps in plain jnp."""

import math

import jax.numpy as jnp
import numpy as np
from fourdc_jax.kernels.hash_table.xla import HashTable, build_hash_table, find
from fourdc_jax.kernels.kernel_map.maps import LARGEST_TILE, Downsample, KernelMap, PairLists
from fourdc_jax.kernels.padding import PAD_COORDINATE, valid_rows
from jax import lax
from jaxtyping import Array, Int32


def build_kernel_map(
    coords: Int32[Array, "n columns"],
    num_rows: Int32[Array, ""],
    offsets: Int32[np.ndarray, "k d"],
    table: HashTable,
) -> KernelMap:
    """Look up the first half of the offsets; the other half are the same pairs read backwards."""
    n, half = coords.shape[0], len(offsets) // 2
    valid = valid_rows(n, num_rows)
    own = jnp.where(valid, jnp.arange(n, dtype=jnp.int32), -1)
    if half == 0:
        rows = own[None]
        return KernelMap(rows, num_rows, build_pair_lists(rows[:0]))
    columns = tuple(coords.T)

    def look_up(offset: Int32[Array, "d"]) -> Int32[Array, "n"]:
        return find(table, (columns[0], *(c + o for c, o in zip(columns[1:], offset))))

    found = lax.map(look_up, jnp.asarray(offsets[:half]))  # [half, n]
    found = jnp.where(valid, found, -1)
    mirrored = _invert(found, n)
    rows = jnp.concatenate([found, own[None], mirrored[::-1]])
    return KernelMap(rows, num_rows, build_pair_lists(found))


def downsample(
    coords: Int32[Array, "n columns"],
    num_rows: Int32[Array, ""],
    stride: tuple[int, ...],
    tensor_stride: tuple[int, ...],
    capacity: int,
) -> Downsample:
    """Number the coarse voxels by their first child, found with a hash table of coarse coords."""
    n = coords.shape[0]
    valid = valid_rows(n, num_rows)
    parent_coords, child = parent_cells(coords, stride, tensor_stride)
    first_child = find(build_hash_table(parent_coords, num_rows), tuple(parent_coords.T))
    is_first = valid & (first_child == jnp.arange(n, dtype=jnp.int32))
    number = jnp.cumsum(is_first, dtype=jnp.int32) - 1
    rows_needed = jnp.sum(is_first, dtype=jnp.int32)
    parents = number[first_child] if n else number
    parents = jnp.where(valid & (parents < capacity), parents, -1)

    target = jnp.where(is_first, number, capacity)
    coarse = jnp.full((capacity, coords.shape[1]), PAD_COORDINATE, jnp.int32)
    coarse = coarse.at[target].set(parent_coords, mode="drop")

    volume = math.prod(stride)
    outputs = jnp.where(
        child[None] == jnp.arange(volume, dtype=jnp.int32)[:, None], parents[None], -1
    )  # [k, n]: coarse row of fine row i where i is child k
    children = _invert(outputs, capacity)
    return Downsample(
        coords=coarse,
        num_rows=jnp.minimum(rows_needed, capacity),
        rows_needed=rows_needed,
        num_fine_rows=num_rows,
        parents=parents,
        children=children,
        pairs=build_pair_lists(children),
    )


def parent_cells(
    coords: Int32[Array, "n columns"], stride: tuple[int, ...], tensor_stride: tuple[int, ...]
) -> tuple[Int32[Array, "n columns"], Int32[Array, "n"]]:
    """Coordinates of the coarse voxel that each row lies in, and which child of it the row is."""
    spacing = np.array([1, *tensor_stride], np.int32)
    factor = np.array([1, *stride], np.int32)
    cells = jnp.floor_divide(coords, spacing)  # [n, 1 + d]
    parents = jnp.floor_divide(cells, factor)
    within = cells - parents * factor  # [n, 1 + d], batch column 0
    strides_of_axis = np.cumprod([1, 1, *stride[:-1]]).astype(np.int32)
    return parents * (spacing * factor), jnp.sum(within * strides_of_axis, axis=1, dtype=jnp.int32)


def build_pair_lists(rows: Int32[Array, "l n"]) -> PairLists:
    """Compact a neighbour table into lists of existing pairs, in order of output rows.

    Args:
      rows: int32 [l, n], input row of each output row, -1 where there is none.
    """
    lists, n = rows.shape
    exists = rows >= 0
    ends = jnp.cumsum(exists, axis=1, dtype=jnp.int32)
    slots = jnp.where(exists, ends - 1, n)
    list_index = jnp.arange(lists, dtype=jnp.int32)[:, None]
    empty = jnp.zeros((lists, n + LARGEST_TILE), jnp.int32)
    inputs = empty.at[list_index, slots].set(rows, mode="drop", unique_indices=True)
    outputs = empty.at[list_index, slots].set(
        jnp.arange(n, dtype=jnp.int32)[None], mode="drop", unique_indices=True
    )
    return PairLists(inputs, outputs, jnp.sum(exists, axis=1, dtype=jnp.int32))


def _invert(rows: Int32[Array, "l n"], num_inputs: int) -> Int32[Array, "l m"]:
    """The map read backwards: for each input row, the one output row that reads it, or -1."""
    lists, n = rows.shape
    target = jnp.where(rows >= 0, rows, num_inputs)
    backwards = jnp.full((lists, num_inputs), -1, jnp.int32)
    return backwards.at[jnp.arange(lists, dtype=jnp.int32)[:, None], target].set(
        jnp.arange(n, dtype=jnp.int32)[None], mode="drop", unique_indices=True
    )
