"""The CPU map kernels against the XLA maps and tables, integer for integer."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import dense

from fourdc_jax import kernels

pytest.importorskip("numba", reason="numba is not installed")

CAPACITY = 40
MAPS = {  # dimension, options
    "1d": (1, {"kernel_size": 5}),
    "2d": (2, {"kernel_size": (5, 3), "tensor_stride": (1, 2)}),
    "one offset": (3, {"kernel_size": 1}),
    "cube": (3, {"tensor_stride": 4}),
    "large": (3, {"kernel_size": 5}),
    "flat": (3, {"kernel_size": (3, 3, 1)}),
    "far along the last axis": (2, {"kernel_size": (1, 19)}),
    "cross": (4, {"kernel_type": "hypercross"}),
    "hybrid": (4, {"kernel_type": "hybrid"}),
    "4d": (4, {"tensor_stride": (2, 2, 2, 1)}),
}
STRIDED = {  # dimension, options
    "1d": (1, {"capacity": 20}),
    "3d": (3, {"capacity": 44}),
    "left out": (3, {"capacity": 3}),
    "time kept": (4, {"capacity": 40, "stride": (2, 2, 2, 1)}),
    "strides 4 and 6": (3, {"capacity": 40, "stride": (4, 6, 1), "tensor_stride": (4, 2, 3)}),
}


@cache
def mapper(case, implementation):
    build = partial(kernels.build_kernel_map, implementation=implementation, **MAPS[case][1])
    return jax.jit(lambda coords, num_rows: build(coords, num_rows).rows)


@cache
def coarsener(case, implementation):
    return jax.jit(partial(kernels.downsample, implementation=implementation, **STRIDED[case][1]))


@st.composite
def coordinate_arrays(draw, dimension):
    """CAPACITY rows in any order, near and far, on and off a grid, some repeated; rows in use."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    extent = draw(st.sampled_from([1, 3, 6, 40]))
    spacing = draw(st.sampled_from([1, 2, 4]))
    coords = rng.integers(-extent, extent + 1, (CAPACITY, 1 + dimension)) * spacing
    coords[:, 0] = rng.integers(0, 2, CAPACITY)
    coords[:, 1:] += draw(st.sampled_from([0, 0, 7, -(2**31) + 161, 2**31 - 162]))
    if draw(st.booleans()):  # keys of more than 62 bits, and neighbours across the largest number
        ends = np.array([-(2**31), 1 - 2**31, 2**31 - 1, 2**31 - 2, -(2**30), 2**30, 0])
        coords[::3, 1:] = rng.choice(ends, coords[::3, 1:].shape)
    if draw(st.booleans()):
        unique = np.unique(coords, axis=0)
        coords[: len(unique)] = unique
    return coords.astype(np.int32), draw(st.integers(-1, CAPACITY + 2))


@pytest.mark.parametrize("case", MAPS)
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_kernel_map_equals_xla(case, data):
    coords, num_rows = data.draw(coordinate_arrays(MAPS[case][0]))
    expected, rows = (mapper(case, name)(coords, jnp.int32(num_rows)) for name in ("xla", "cpu"))
    np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize("case", STRIDED)
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_downsample_equals_xla(case, data):
    coords, num_rows = data.draw(coordinate_arrays(STRIDED[case][0]))
    expected, down = (coarsener(case, name)(coords, jnp.int32(num_rows)) for name in ("xla", "cpu"))
    for name in ("coords", "num_rows", "rows_needed", "num_fine_rows", "parents", "children"):
        np.testing.assert_array_equal(getattr(down, name), getattr(expected, name), err_msg=name)
    child, coarse = np.nonzero(np.asarray(down.children) >= 0)
    fine = np.asarray(down.children)[child, coarse]
    np.testing.assert_array_equal(np.asarray(down.transposed_rows)[child, fine], coarse)
    read = np.asarray(down.transposed_rows) >= 0
    np.testing.assert_array_equal(read.sum(0), np.asarray(down.parents) >= 0)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_lookup_equals_xla(data):
    coords, num_rows = data.draw(coordinate_arrays(3))
    queries = np.concatenate([coords, coords[::2] + np.array([0, 0, 1, 0], np.int32)])
    tables, rows = [], []
    for name in ("xla", "cpu"):
        build = jax.jit(partial(kernels.build_hash_table, implementation=name))
        tables.append(build(coords, jnp.int32(num_rows)))
        find = jax.jit(partial(kernels.lookup, implementation=name))
        rows.append(np.asarray(find(tables[-1], coords, queries)))
    np.testing.assert_array_equal(*rows)
    assert int(tables[0].num_duplicates) == int(tables[1].num_duplicates)


@pytest.mark.parametrize("order", ["sorted", "shuffled", "repeated"])
def test_maps_of_many_units_of_work(order):
    rng = np.random.default_rng(0)
    n = 2100
    coords = dense.random_coords(rng, n, 3, extent=12)
    coords = coords[np.lexsort(coords.T[::-1])] if order == "sorted" else coords
    if order == "repeated":
        coords[1000:1200] = coords[:200]
    coords = jnp.asarray(dense.pad_rows(coords, n + 1500, 0))
    results = []
    for name in ("xla", "cpu"):
        kmap = kernels.build_kernel_map(coords, jnp.int32(n), implementation=name)
        down = kernels.downsample(coords, jnp.int32(n), capacity=900, implementation=name)
        results.append((kmap.rows, down.coords, down.parents, down.children))
    for expected, actual in zip(*results):
        np.testing.assert_array_equal(actual, expected)


def test_no_rows_at_all():
    coords = jnp.zeros((0, 4), jnp.int32)
    kmap = kernels.build_kernel_map(coords, jnp.int32(0), implementation="cpu")
    down = kernels.downsample(coords, jnp.int32(0), capacity=2, implementation="cpu")
    assert kmap.rows.shape == (27, 0)
    assert int(down.rows_needed) == 0
    assert (np.asarray(down.coords) == kernels.PAD_COORDINATE).all()


def test_a_map_for_the_cpu_is_refused_by_xla():
    coords = jnp.zeros((3, 4), jnp.int32)
    kmap = kernels.build_kernel_map(coords, jnp.int32(1), implementation="cpu")
    down = kernels.downsample(coords, jnp.int32(1), capacity=3, implementation="cpu")
    features = jnp.zeros((3, 2))
    for run, which, k in (
        (kernels.sparse_conv, kmap, 27),
        (kernels.strided_conv, down, 8),
        (kernels.transposed_conv, down, 8),
    ):
        with pytest.raises(ValueError, match="build the map with implementation='xla' too"):
            run(features, jnp.zeros((k, 2, 2)), which, implementation="xla")
