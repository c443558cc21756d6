"""The order in which the Triton kernels read rows: sort keys, and what their sorting gains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.implementations import KERNELS
from fourdc_jax.kernels.kernel_map.sort_keys import strided_key, submanifold_key
from oracles import dense, maps

from fourdc_jax import kernels
from fourdc_jax.data.procedural.rooms import make_room


def sort_rows(table, num_rows, key, implementation):
    """Tiles of a neighbour table, -1 where there is no neighbour."""
    from fourdc_jax.kernels.kernel_map.triton_tiles import build_tiles

    return build_tiles(jnp.asarray(table + 1), jnp.int32(num_rows), key, implementation)


def neighbour_table(coords):
    return np.asarray(jax.jit(kernels.build_kernel_map)(coords, jnp.int32(len(coords))).rows)


def test_directions_have_their_own_bits_and_far_ones_are_higher():
    offsets = kernels.kernel_offsets(3, 3)
    words = submanifold_key(offsets, 1000).words
    distance = np.count_nonzero(offsets, axis=1)
    np.testing.assert_array_equal(np.bitwise_count(words), np.arange(27) != 13)
    assert np.bitwise_or.reduce(words) == 2**26 - 1
    assert words[distance == 1].max() < words[distance == 2].min()
    assert words[distance == 2].max() < words[distance == 3].min()


def test_offsets_of_one_direction_share_a_bit_and_time_has_two():
    offsets = kernels.kernel_offsets((5, 3, 3, 3), 4)
    key = submanifold_key(offsets, 1000)
    space = {tuple(np.sign(offset[:3])) for offset in offsets}
    assert key.mask_bits == len(space) - 1 + 2
    for offset, word in zip(offsets, key.words):
        spatial = key.words[(offsets == [*np.sign(offset[:3]), 0]).all(1)].item()
        assert word == spatial | {0: 0, -1: 1 << 26, 1: 1 << 27}[offset[3]]


@pytest.mark.parametrize(("volume", "bytes_of_key"), [(8, 1), (16, 2), (27, 4), (81, 4)])
def test_strided_keys_are_as_narrow_as_can_be(volume, bytes_of_key):
    key = strided_key(volume, 10)
    assert key.dtype.itemsize == bytes_of_key
    assert np.bitwise_or.reduce(key.words) == 2 ** min(volume, 32) - 1


@pytest.mark.parametrize("implementation", KERNELS)
def test_chunks_keep_rows_near_where_they_were(implementation):
    rows = np.random.default_rng(0).integers(-1, 200, (27, 200)).astype(np.int32)
    rows[:, 180:] = -1
    key = submanifold_key(kernels.kernel_offsets(3, 3), 200)._replace(chunk_rows=64)
    tiles = sort_rows(rows, 180, key, implementation)
    maps.assert_tiles_hold(tiles, rows, last=range(180, 200))
    chunk = np.asarray(tiles.order)[:180] // 64
    np.testing.assert_array_equal(chunk, np.sort(chunk))
    assert (np.diff(np.asarray(tiles.order)[:64]) < 0).any()


@pytest.mark.parametrize("implementation", KERNELS)
def test_sorted_rows_compute_little_that_no_pair_needs(implementation):
    """Computed over existing pairs in a room of 10 cm voxels, against other orders of its rows."""
    points = make_room(1, num_points=100_000).points
    cells = np.unique(np.floor(points / 0.1).astype(np.int32), axis=0)
    coords = np.insert(cells, 0, 0, axis=1).astype(np.int32)
    n = len(coords)
    table = neighbour_table(coords)
    key = submanifold_key(kernels.kernel_offsets(3, 3), n)
    tiles = sort_rows(table, n, key, implementation)
    mask = (table >= 0).T @ (np.uint32(1) << np.arange(27, dtype=np.uint32))
    by_mask = table[:, np.argsort(mask, kind="stable")]
    for tile, most, gain in ((64, 1.45, 1.3), (128, 1.55, 1.25)):
        ours = redundancy(np.asarray(tiles.rows), tile)
        assert ours < most
        assert redundancy(table, tile) / ours > gain  # in order of coordinates
        assert redundancy(by_mask, tile) / ours > 1.04  # in order of plain masks


@pytest.mark.parametrize("implementation", KERNELS)
def test_time_decides_first_in_4d(implementation):
    """Two frames that share half of their voxels: the third of the offsets that a row lacks."""
    rng = np.random.default_rng(0)
    frame = dense.random_coords(rng, 700, 3, batch=1, extent=12)
    alone = frame[500:] + np.array([0, 90, 0, 0])
    first, second = np.concatenate([frame[:500], alone]), frame[:250]
    coords = np.concatenate([np.insert(first, 4, 0, axis=1), np.insert(second, 4, 1, axis=1)])
    coords = coords.astype(np.int32)
    coords = coords[rng.permutation(len(coords))]
    n = len(coords)
    table = neighbour_table(coords)
    key = submanifold_key(kernels.kernel_offsets(3, 4), n)
    tiles = sort_rows(table, n, key, implementation)
    maps.assert_tiles_hold(tiles, table, last=())
    late = np.asarray(tiles.rows).reshape(3, 27, -1)[2] >= 0  # offsets with time + 1
    has_late = late.any(0)[:n]
    assert np.count_nonzero(np.diff(has_late.astype(int))) <= 3


def redundancy(rows, tile):
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % tile)), constant_values=-1)
    needed = (rows >= 0).reshape(len(rows), -1, tile)
    return needed.any(2).sum() * tile / needed.sum()
