"""Kernel maps and strided maps of every implementation against Python dictionaries."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.implementations import ALL_AND_CPU, KERNELS, TRITON
from fixtures.voxels import CAPACITY, room_coords
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import dense, maps

from fourdc_jax import kernels


def build_map(coords, num_rows, implementation, **options):
    build = partial(kernels.build_kernel_map, implementation=implementation, **options)
    return jax.jit(build)(coords, jnp.int32(num_rows))


def coarsen(coords, num_rows, implementation, **options):
    build = partial(kernels.downsample, implementation=implementation, **options)
    return jax.jit(build)(coords, jnp.int32(num_rows))


def far_coords(n, dimension, tensor_stride):
    """Unique coordinates, random in all but their number, around the origin or far from it."""
    rng = np.random.default_rng(n)
    extent = 12 if n > 1000 else 5
    coords = dense.random_coords(rng, n, dimension, extent=extent, tensor_stride=tensor_stride)
    coords[:, 1:] += rng.choice([-(2**30), 0, 2**30 - 2**10])
    return coords


MAPS = {  # dimension, rows, capacity, options
    "1d": (1, 7, 9, {}),
    "2d": (2, 20, 20, {"kernel_size": (5, 3), "tensor_stride": (1, 2)}),
    "one offset": (3, 40, 41, {"kernel_size": 1}),
    "cross": (4, 60, 60, {"kernel_type": "hypercross"}),
    "large cross": (3, 80, 85, {"kernel_type": "hypercross", "kernel_size": 5}),
    "cube": (3, 65, 130, {"tensor_stride": 4}),
    "large": (3, 32, 32, {"kernel_size": 5}),
    "4d": (4, 60, 67, {"tensor_stride": (2, 2, 2, 1)}),
    "hybrid": (4, 60, 64, {"kernel_type": "hybrid", "tensor_stride": (2, 2, 2, 1)}),
    "one row": (3, 1, 1, {}),
    "all padded": (3, 0, 33, {}),
    "no rows": (3, 0, 0, {}),
    "many buckets": (3, 1100, 1150, {"kernel_type": "hypercross"}),
}


@pytest.mark.parametrize("implementation", ALL_AND_CPU)
@pytest.mark.parametrize("case", MAPS)
def test_kernel_map_equals_a_dictionary(case, implementation):
    dimension, n, capacity, options = MAPS[case]
    stride = options.get("tensor_stride", 1)
    coords = far_coords(n, dimension, stride)
    kmap = build_map(dense.pad_rows(coords, capacity, 0), n, implementation, **options)
    offsets = kernels.kernel_offsets(
        options.get("kernel_size", 3), dimension, options.get("kernel_type", "hypercube")
    )
    table = maps.neighbours(coords, offsets * np.array(stride), capacity)
    np.testing.assert_array_equal(kmap.rows, table)
    assert int(kmap.num_rows) == n
    if implementation == "cpu":
        assert kmap.pairs is None
    else:  # offset k-1-i has the pairs of offset i read backwards: the table above says so too
        maps.assert_pairs_list(kmap.pairs, table[: len(offsets) // 2])
    if implementation in ("xla", "cpu"):
        assert kmap.tiles is None
    else:
        maps.assert_tiles_hold(kmap.tiles, table, last=range(n, capacity))


@pytest.mark.parametrize("implementation", ALL_AND_CPU)
def test_a_given_table_makes_the_same_map(implementation):
    coords = dense.random_coords(np.random.default_rng(0), 60, 3)

    @jax.jit
    def build(coords, num_rows):
        table = kernels.build_hash_table(coords, num_rows, implementation=implementation)
        return kernels.build_kernel_map(
            coords, num_rows, table=table, implementation=implementation
        )

    expected = maps.neighbours(coords, kernels.kernel_offsets(3, 3), 60)
    np.testing.assert_array_equal(build(coords, jnp.int32(60)).rows, expected)


STRIDED = {  # dimension, rows, padded rows, options
    "1d": (1, 8, 3, {"capacity": 8}),
    "3d": (3, 90, 7, {"capacity": 97}),
    "an axis kept": (3, 70, 0, {"capacity": 70, "stride": (2, 2, 1)}),
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


@pytest.mark.parametrize("implementation", ALL_AND_CPU)
@pytest.mark.parametrize("case", STRIDED)
def test_downsample_equals_a_dictionary(case, implementation):
    dimension, n, padding, options = STRIDED[case]
    spacing = np.broadcast_to(options.get("tensor_stride", 1), dimension)
    stride = np.broadcast_to(options.get("stride", 2), dimension)
    coords = far_coords(n, dimension, spacing)
    down = coarsen(dense.pad_rows(coords, n + padding, 0), n, implementation, **options)
    expected = maps.coarsen(coords, padding, stride, spacing, options["capacity"])
    for name, value in expected._asdict().items():
        np.testing.assert_array_equal(getattr(down, name), value, err_msg=name)
    if implementation == "cpu":
        assert down.pairs is None
        np.testing.assert_array_equal(down.transposed_rows, maps.transposed(expected))
    else:
        maps.assert_pairs_list(down.pairs, expected.children)
        assert down.transposed_rows is None
    if implementation in ("xla", "cpu"):
        assert down.tiles is None
        assert down.transposed_tiles is None
    else:
        unused = range(expected.num_rows, options["capacity"])
        maps.assert_tiles_hold(down.tiles, expected.children, last=unused)
        without = np.flatnonzero(expected.parents < 0)
        maps.assert_tiles_hold(down.transposed_tiles, maps.transposed(expected), last=without)


@pytest.mark.parametrize("implementation", ALL_AND_CPU)
def test_downsample_overflow_is_counted_and_leaves_out_the_last(implementation):
    coords = np.array([[0, x, 0, 0] for x in (0, 1, 2, 4, 5, 9)], np.int32)
    down = coarsen(coords, 6, implementation, capacity=3)
    assert int(down.rows_needed) == 4
    assert int(down.num_rows) == 3
    assert down.parents.tolist() == [0, 0, 1, 2, 2, -1]
    assert down.coords[:, 1].tolist() == [0, 2, 4]


@pytest.mark.parametrize("implementation", KERNELS)
def test_repeated_coordinates_leave_no_hole_in_the_lists(implementation):
    """They break the contract; what reads the maps must still find rows that exist."""
    rng = np.random.default_rng(3)
    coords = dense.random_coords(rng, 60, 3)
    coords = np.concatenate([coords, coords[:7]])
    down = coarsen(coords, len(coords), implementation, capacity=60)
    counts = np.asarray(down.pairs.counts)
    assert counts.sum() == 60
    for lists, rows in ((down.pairs.inputs, len(coords)), (down.pairs.outputs, 60)):
        for number, count in enumerate(counts):
            entries = np.asarray(lists)[number, :count]
            assert ((entries >= 0) & (entries < rows)).all()


@pytest.mark.parametrize("implementation", ALL_AND_CPU)
def test_maps_under_pmap(implementation):
    rng = np.random.default_rng(3)
    coords = np.stack([dense.random_coords(rng, 50, 3) for _ in range(jax.local_device_count())])
    counts = np.array([50, 31], np.int32)[: len(coords)]

    def build(coords, num_rows):
        kmap = kernels.build_kernel_map(coords, num_rows, implementation=implementation)
        down = kernels.downsample(coords, num_rows, capacity=50, implementation=implementation)
        return kmap.rows, down.parents, down.coords

    found = jax.pmap(build)(coords, counts)
    for rows, parents, coarse, own, n in zip(*found, coords, counts):
        expected = maps.coarsen(own[:n], 50 - n, (2, 2, 2), (1, 1, 1), 50)
        offsets = kernels.kernel_offsets(3, 3)
        np.testing.assert_array_equal(rows, maps.neighbours(own[:n], offsets, 50))
        np.testing.assert_array_equal(parents, expected.parents)
        np.testing.assert_array_equal(coarse, expected.coords)


def build_both(coords, num_rows, implementation):
    """Every map of a level."""
    options = {"implementation": implementation}
    stem_size = (5, 5, 5, 1)[: coords.shape[1] - 1]
    return (
        kernels.build_kernel_map(coords, num_rows, **options),
        kernels.build_kernel_map(coords, num_rows, kernel_size=stem_size, **options),
        kernels.downsample(coords, num_rows, capacity=CAPACITY // 2, **options),
    )


@pytest.mark.parametrize("implementation", [TRITON])
@pytest.mark.parametrize("dimension", [3, 4])
def test_maps_of_real_size_equal_xla_and_repeat_bitwise(dimension, implementation):
    run = jax.jit(build_both, static_argnames="implementation")
    arguments = room_coords(dimension)
    ours, again = run(*arguments, implementation), run(*arguments, implementation)
    for mine, twin in zip(ours, run(*arguments, "xla")):
        for field in set(mine._fields) - {"pairs", "tiles", "transposed_tiles"}:
            np.testing.assert_array_equal(getattr(mine, field), getattr(twin, field), field)
        table = twin.children if isinstance(twin, kernels.Downsample) else twin.rows
        table, n = np.asarray(table), int(twin.num_rows)
        maps.assert_pairs_list(mine.pairs, table[: len(mine.pairs.counts)])
        maps.assert_tiles_hold(mine.tiles, table, last=range(n, table.shape[1]))
    for first, second in zip(jax.tree.leaves(ours), jax.tree.leaves(again)):
        np.testing.assert_array_equal(first, second)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 20), st.integers(0, 2**31 - 1), st.integers(-(2**31), 2**31 - 1))
def test_padding_changes_nothing(n, seed, garbage):
    """Outputs and gradients do not depend on capacity or on what padded coordinates hold."""
    rng = np.random.default_rng(seed)
    coords = dense.random_coords(rng, n, 3, extent=3)
    features = rng.normal(size=(n, 9)).astype(np.float32)
    weights = rng.normal(size=(27, 9, 5)).astype(np.float32)
    small = _loss_and_gradients(
        dense.pad_rows(coords, 21, garbage), jnp.int32(n), dense.pad_rows(features, 21, 0), weights
    )
    large = _loss_and_gradients(
        dense.pad_rows(coords, 64, 0), jnp.int32(n), dense.pad_rows(features, 64, 0), weights
    )
    for a, b in zip(small, large):
        rows = min(a.shape[0], b.shape[0])
        np.testing.assert_allclose(a[:rows], b[:rows], rtol=1e-5, atol=1e-5)
        assert not np.any(a[n:]) or a.shape[0] == 27


@jax.jit
def _loss_and_gradients(coords, num_rows, features, weights):
    def run(features, weights):
        kmap = kernels.build_kernel_map(coords, num_rows)
        down = kernels.downsample(coords, num_rows, capacity=coords.shape[0])
        out = kernels.sparse_conv(features, weights, kmap)
        return out, kernels.strided_conv(out, weights[:8, :5, :], down)

    (same, coarse), pullback = jax.vjp(run, features, weights)
    return same, coarse, *pullback((jnp.cos(same), jnp.sin(coarse)))


def test_hybrid_is_the_spatial_cube_and_the_temporal_cross():
    offsets = kernels.kernel_offsets(3, 4, "hybrid")
    assert len(offsets) == 29
    assert sum(offset[3] != 0 for offset in offsets) == 2
    assert kernels.kernel_volume(3, 4, "hypercross") == 9
    assert kernels.kernel_volume(3, 4) == 81


@pytest.mark.parametrize("kernel_type", ["hypercube", "hypercross", "hybrid"])
def test_offsets_are_x_fastest_and_mirrored(kernel_type):
    offsets = kernels.kernel_offsets(3, 4, kernel_type)
    np.testing.assert_array_equal(offsets, -offsets[::-1])
    order = np.lexsort(offsets.T)
    np.testing.assert_array_equal(order, np.arange(len(offsets)))


def test_bad_arguments_are_named():
    coords, count = jnp.zeros((4, 4), jnp.int32), jnp.int32(4)
    with pytest.raises(ValueError, match="odd sizes, got 2"):
        kernels.build_kernel_map(coords, count, kernel_size=2)
    with pytest.raises(ValueError, match="does not fit 3 dimensions"):
        kernels.build_kernel_map(coords, count, kernel_size=(3, 3))
    with pytest.raises(ValueError, match="stride=0"):
        kernels.downsample(coords, count, stride=0, capacity=4)
    with pytest.raises(ValueError, match="capacity must be at least 1"):
        kernels.downsample(coords, count, capacity=0)
