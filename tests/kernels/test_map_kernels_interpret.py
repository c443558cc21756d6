"""The Triton map kernels, in the interpreter, against the XLA maps bit for bit."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fourdc_jax.kernels.kernel_map.maps import GRANULE, ROW_MULTIPLE
from fourdc_jax.kernels.kernel_map.sort_keys import strided_key, submanifold_key
from oracles import dense

from fourdc_jax import kernels
from fourdc_jax.data.procedural.rooms import make_room

pytest.importorskip("triton", reason="triton is not installed")

from fourdc_jax.kernels.kernel_map.triton_tiles import build_tiles


def build_map(coords, num_rows, implementation, **options):
    build = partial(kernels.build_kernel_map, implementation=implementation, **options)
    return jax.jit(build)(coords, jnp.int32(num_rows))


def coarsen(coords, num_rows, implementation, **options):
    build = partial(kernels.downsample, implementation=implementation, **options)
    return jax.jit(build)(coords, jnp.int32(num_rows))


def assert_same_pairs(pairs, expected):
    np.testing.assert_array_equal(pairs.counts, expected.counts)
    for number, count in enumerate(np.asarray(expected.counts)):
        for lists, expected_lists in zip(pairs[:2], expected[:2]):
            np.testing.assert_array_equal(lists[number, :count], expected_lists[number, :count])


def assert_tiles_hold(tiles, table, num_rows):
    """The table's columns in the order of the tiles, which is a permutation with padding last."""
    table, (rows, order, active) = np.asarray(table), map(np.asarray, tiles)
    volume, n = table.shape
    positions = -(-n // ROW_MULTIPLE) * ROW_MULTIPLE
    assert rows.shape == (volume, positions)
    assert sorted(order[:num_rows]) == list(range(num_rows))
    np.testing.assert_array_equal(order[num_rows:n], np.arange(num_rows, n))
    assert (order[n:] == -1).all()
    padded = np.pad(table, ((0, 0), (0, 1)), constant_values=-1)  # column -1
    np.testing.assert_array_equal(rows, padded[:, order])
    exists = (rows >= 0).reshape(volume, -1, GRANULE).any(2).T  # [granules, k]
    bits = np.unpackbits(active.view(np.uint8), axis=1, bitorder="little")
    np.testing.assert_array_equal(bits[:, :volume], exists)
    assert not bits[:, volume:].any()


MAPS = {  # dimension, rows, capacity, options
    "1d": (1, 7, 9, {}),
    "2d": (2, 20, 20, {"kernel_size": (5, 3), "tensor_stride": (1, 2)}),
    "one offset": (3, 40, 41, {"kernel_size": 1}),
    "cross": (4, 60, 60, {"kernel_type": "hypercross"}),
    "cube": (3, 65, 130, {"tensor_stride": 4}),
    "large": (3, 32, 32, {"kernel_size": 5}),
    "4d": (4, 60, 67, {"tensor_stride": (2, 2, 2, 1)}),
    "hybrid": (4, 60, 64, {"kernel_type": "hybrid"}),
    "one row": (3, 1, 1, {}),
    "all padded": (3, 0, 33, {}),
    "no rows": (3, 0, 0, {}),
    "many buckets": (3, 1100, 1150, {"kernel_type": "hypercross"}),
}


@pytest.mark.parametrize("case", MAPS)
def test_kernel_map_equals_xla(case):
    dimension, n, capacity, options = MAPS[case]
    stride = options.get("tensor_stride", 1)
    extent = 12 if n > 1000 else 5
    rng = np.random.default_rng(n)
    coords = dense.random_coords(rng, n, dimension, extent=extent, tensor_stride=stride)
    coords[:, 1:] += rng.choice([-(2**30), 0, 2**30 - 2**10])
    coords = dense.pad_rows(coords, capacity, 0)
    expected = build_map(coords, n, "xla", **options)
    kmap = build_map(coords, n, "interpret", **options)
    np.testing.assert_array_equal(kmap.rows, expected.rows)
    assert int(kmap.num_rows) == n
    assert_same_pairs(kmap.pairs, expected.pairs)
    assert_tiles_hold(kmap.tiles, expected.rows, n)


def test_a_given_table_makes_the_same_map():
    coords = dense.random_coords(np.random.default_rng(0), 60, 3)

    @jax.jit
    def build(coords, num_rows):
        table = kernels.build_hash_table(coords, num_rows, implementation="interpret")
        return kernels.build_kernel_map(coords, num_rows, table=table, implementation="interpret")

    expected = build_map(coords, 60, "xla")
    np.testing.assert_array_equal(build(coords, jnp.int32(60)).rows, expected.rows)


STRIDED = {  # dimension, rows, padded rows, options
    "1d": (1, 8, 3, {"capacity": 8}),
    "3d": (3, 90, 7, {"capacity": 97}),
    "more capacity than rows": (3, 60, 0, {"capacity": 200}),
    "left out": (3, 90, 7, {"capacity": 13}),
    "4d": (4, 100, 28, {"capacity": 100}),
    "time kept": (4, 100, 0, {"capacity": 100, "stride": (2, 2, 2, 1)}),
    "strides 4 and 6": (3, 100, 5, {"capacity": 40, "stride": (4, 6, 2)}),
    "tensor stride": (3, 70, 1, {"capacity": 70, "tensor_stride": (4, 2, 1)}),
    "one row": (3, 1, 0, {"capacity": 1}),
    "all padded": (3, 0, 40, {"capacity": 9}),
    "no rows": (3, 0, 0, {"capacity": 9}),
    "many buckets": (3, 1100, 30, {"capacity": 1050, "stride": (1, 1, 2)}),
}


@pytest.mark.parametrize("case", STRIDED)
def test_downsample_equals_xla(case):
    dimension, n, padding, options = STRIDED[case]
    extent = 10 if n > 1000 else 5
    rng = np.random.default_rng(n)
    spacing = options.get("tensor_stride", 1)
    coords = dense.random_coords(rng, n, dimension, extent=extent, tensor_stride=spacing)
    coords[:, 1:] += rng.choice([-(2**30), 0, 2**30 - 2**10])
    coords = dense.pad_rows(coords, n + padding, 0)
    expected = coarsen(coords, n, "xla", **options)
    down = coarsen(coords, n, "interpret", **options)
    for name in ("coords", "num_rows", "rows_needed", "num_fine_rows", "parents", "children"):
        np.testing.assert_array_equal(getattr(down, name), getattr(expected, name), err_msg=name)
    assert_same_pairs(down.pairs, expected.pairs)
    assert_tiles_hold(down.tiles, expected.children, int(down.num_rows))
    reads = transposed_table(expected)
    with_parent = np.asarray(expected.parents) >= 0
    if with_parent[:n].all():
        assert_tiles_hold(down.transposed_tiles, reads, n)
    order, rows = down.transposed_tiles.order, down.transposed_tiles.rows
    assert sorted(order[: len(coords)].tolist()) == list(range(len(coords)))
    without = np.flatnonzero(~with_parent)
    np.testing.assert_array_equal(order[with_parent.sum() : len(coords)], without)
    np.testing.assert_array_equal(rows[:, : len(coords)], reads[:, order[: len(coords)]])
    assert (np.asarray(rows)[:, len(coords) :] == -1).all()


def transposed_table(down):
    """[k, n]: the coarse row that each fine row reads at the offset that is its child position."""
    children = np.asarray(down.children)
    table = np.full((children.shape[0], len(down.parents)), -1, np.int32)
    offset, parent = np.nonzero(children >= 0)
    table[offset, children[offset, parent]] = parent
    return table


def test_maps_under_pmap():
    rng = np.random.default_rng(3)
    coords = np.stack([dense.random_coords(rng, 50, 3) for _ in range(2)])
    counts = np.array([50, 31], np.int32)

    def build(coords, num_rows, implementation):
        kmap = kernels.build_kernel_map(coords, num_rows, implementation=implementation)
        down = kernels.downsample(coords, num_rows, capacity=50, implementation=implementation)
        return kmap.rows, down.parents, down.coords

    found = jax.pmap(partial(build, implementation="interpret"))(coords, counts)
    expected = jax.pmap(partial(build, implementation="xla"))(coords, counts)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


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


def test_chunks_keep_rows_near_where_they_were():
    rows = np.random.default_rng(0).integers(-1, 200, (27, 200)).astype(np.int32)
    rows[:, 180:] = -1
    key = submanifold_key(kernels.kernel_offsets(3, 3), 200)._replace(chunk_rows=64)
    tiles = build_tiles(jnp.asarray(rows + 1), jnp.int32(180), key, "interpret")
    assert_tiles_hold(tiles, rows, 180)
    chunk = np.asarray(tiles.order)[:180] // 64
    np.testing.assert_array_equal(chunk, np.sort(chunk))
    assert (np.diff(np.asarray(tiles.order)[:64]) < 0).any()


def test_sorted_rows_compute_little_that_no_pair_needs():
    """Computed over existing pairs in a room of 10 cm voxels, against other orders of its rows."""
    points = make_room(1, num_points=100_000).points
    cells = np.unique(np.floor(points / 0.1).astype(np.int32), axis=0)
    coords = np.insert(cells, 0, 0, axis=1).astype(np.int32)
    n = len(coords)
    table = np.asarray(build_map(coords, n, "xla").rows)
    key = submanifold_key(kernels.kernel_offsets(3, 3), n)
    tiles = build_tiles(jnp.asarray(table + 1), jnp.int32(n), key, "interpret")
    mask = (table >= 0).T @ (np.uint32(1) << np.arange(27, dtype=np.uint32))
    by_mask = table[:, np.argsort(mask, kind="stable")]
    for tile, most, gain in ((64, 1.45, 1.3), (128, 1.55, 1.25)):
        ours = redundancy(np.asarray(tiles.rows), tile)
        assert ours < most
        assert redundancy(table, tile) / ours > gain  # in order of coordinates
        assert redundancy(by_mask, tile) / ours > 1.04  # in order of plain masks


def test_time_decides_first_in_4d():
    """Two frames that share half of their voxels: the third of the offsets that a row lacks."""
    rng = np.random.default_rng(0)
    frame = dense.random_coords(rng, 700, 3, batch=1, extent=12)
    alone = frame[500:] + np.array([0, 90, 0, 0])
    first, second = np.concatenate([frame[:500], alone]), frame[:250]
    coords = np.concatenate([np.insert(first, 4, 0, axis=1), np.insert(second, 4, 1, axis=1)])
    coords = coords.astype(np.int32)
    coords = coords[rng.permutation(len(coords))]
    n = len(coords)
    table = np.asarray(build_map(coords, n, "xla").rows)
    key = submanifold_key(kernels.kernel_offsets(3, 4), n)
    tiles = build_tiles(jnp.asarray(table + 1), jnp.int32(n), key, "interpret")
    assert_tiles_hold(tiles, table, n)
    late = np.asarray(tiles.rows).reshape(3, 27, -1)[2] >= 0  # offsets with time + 1
    has_late = late.any(0)[:n]
    assert np.count_nonzero(np.diff(has_late.astype(int))) <= 3


def redundancy(rows, tile):
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % tile)), constant_values=-1)
    needed = (rows >= 0).reshape(len(rows), -1, tile)
    return needed.any(2).sum() * tile / needed.sum()


def test_repeated_coordinates_leave_no_hole_in_the_lists():
    """They break the contract; what reads the maps must still find rows that exist."""
    rng = np.random.default_rng(3)
    coords = dense.random_coords(rng, 60, 3)
    coords = np.concatenate([coords, coords[:7]])
    down = coarsen(coords, len(coords), "interpret", capacity=60)
    counts = np.asarray(down.pairs.counts)
    assert counts.sum() == 60
    for lists, rows in ((down.pairs.inputs, len(coords)), (down.pairs.outputs, 60)):
        for number, count in enumerate(counts):
            entries = np.asarray(lists)[number, :count]
            assert ((entries >= 0) & (entries < rows)).all()
