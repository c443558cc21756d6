"""Tables and maps against Python dictionaries; the padding contract by property tests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import dense

from fourdc_jax import kernels

build_table = jax.jit(kernels.build_hash_table)
find = jax.jit(kernels.lookup)
CAPACITY = 24


@st.composite
def coordinate_arrays(draw):
    """Up to CAPACITY rows of coordinates, duplicates and extreme values included."""
    value = st.one_of(st.integers(-2, 2), st.sampled_from([-(2**31), 2**31 - 1, -(2**30), 10**6]))
    rows = draw(st.lists(st.tuples(st.integers(0, 2), value, value, value), max_size=CAPACITY))
    return np.array(rows, np.int32).reshape(-1, 4)


@settings(max_examples=60, deadline=None)
@given(coordinate_arrays(), coordinate_arrays(), st.integers(-(2**31), 2**31 - 1))
def test_lookup_equals_a_dictionary(coords, queries, garbage):
    """Whatever padded rows hold, hits are the lowest rows and padding is never found."""
    first = {}
    for row, coord in enumerate(map(tuple, coords)):
        first.setdefault(coord, row)
    padded = dense.pad_rows(coords, CAPACITY, garbage)
    table = build_table(padded, jnp.int32(len(coords)))
    padded_queries = dense.pad_rows(queries, CAPACITY, 7)
    rows = np.asarray(find(table, padded, padded_queries))[: len(queries)]
    assert rows.tolist() == [first.get(tuple(q), -1) for q in queries]
    assert int(table.num_duplicates) == len(coords) - len(first)


def reference_map(coords, offsets):
    index = {tuple(c): i for i, c in enumerate(coords)}
    table = np.full((len(offsets), len(coords)), -1)
    for k, offset in enumerate(offsets):
        for row, c in enumerate(coords):
            table[k, row] = index.get((c[0], *(c[1:] + offset)), -1)
    return table


@pytest.mark.parametrize(
    ("dimension", "kernel_size", "kernel_type", "tensor_stride"),
    [
        (1, 3, "hypercube", 1), (2, (5, 3), "hypercube", (1, 2)), (3, 3, "hypercube", 4),
        (3, 5, "hypercross", 1), (4, 3, "hybrid", (2, 2, 2, 1)),
    ],
)  # fmt: skip
def test_kernel_map_equals_a_dictionary(dimension, kernel_size, kernel_type, tensor_stride):
    rng = np.random.default_rng(0)
    n = {1: 6, 2: 20, 3: 80, 4: 150}[dimension]
    coords = dense.random_coords(rng, n, dimension, tensor_stride=tensor_stride)
    build = jax.jit(
        lambda c, k: kernels.build_kernel_map(
            c, k, kernel_size=kernel_size, kernel_type=kernel_type, tensor_stride=tensor_stride
        )
    )
    kmap = build(dense.pad_rows(coords, n + 5, 0), jnp.int32(n))
    offsets = kernels.kernel_offsets(kernel_size, dimension, kernel_type) * np.array(tensor_stride)
    np.testing.assert_array_equal(kmap.rows[:, :n], reference_map(coords, offsets))
    assert (np.asarray(kmap.rows)[:, n:] == -1).all()


def listed_pairs(pairs, n_lists):
    inputs, outputs, ends = map(np.asarray, pairs)
    return [
        set(zip(inputs[k, :end].tolist(), outputs[k, :end].tolist()))
        for k, end in enumerate(ends[:n_lists])
    ]


def test_pair_lists_hold_every_pair_once():
    coords = dense.random_coords(np.random.default_rng(1), 90, 3)
    kmap = jax.jit(kernels.build_kernel_map)(coords, jnp.int32(90))
    rows = np.asarray(kmap.rows)
    for k, pairs in enumerate(listed_pairs(kmap.pairs, 13)):
        expected = {(int(r), i) for i, r in enumerate(rows[k]) if r >= 0}
        assert pairs == expected
        assert {(i, r) for r, i in pairs} == {
            (int(r), i) for i, r in enumerate(rows[26 - k]) if r >= 0
        }


def test_downsample_maps_both_ways():
    coords = dense.random_coords(np.random.default_rng(2), 70, 3, extent=6)
    down = jax.jit(lambda c, k: kernels.downsample(c, k, stride=(2, 2, 1), capacity=70))(
        coords, jnp.int32(70)
    )
    parents, children = np.asarray(down.parents), np.asarray(down.children)
    coarse = np.asarray(down.coords)
    for row, coord in enumerate(coords):
        offset = coord - coarse[parents[row]]
        assert children[offset[1] + 2 * offset[2], parents[row]] == row
        assert offset[0] == offset[3] == 0
    assert (children >= 0).sum() == 70


def test_downsample_overflow_is_counted_and_leaves_out_the_last():
    coords = np.array([[0, x, 0, 0] for x in (0, 1, 2, 4, 5, 9)], np.int32)
    down = jax.jit(lambda c, k: kernels.downsample(c, k, capacity=3))(coords, jnp.int32(6))
    assert int(down.rows_needed) == 4
    assert int(down.num_rows) == 3
    assert np.asarray(down.parents).tolist() == [0, 0, 1, 2, 2, -1]
    assert np.asarray(down.coords)[:, 1].tolist() == [0, 2, 4]


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
    with pytest.raises(ValueError, match="d from 1 to 4"):
        kernels.build_hash_table(jnp.zeros((4, 7), jnp.int32), count)
