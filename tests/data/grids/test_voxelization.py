import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fourdc_jax.data.grids.voxelization import (
    argsort_keys,
    choose_packing,
    count_coarse_rows,
    count_rows,
    find_voxels,
    quantize,
    reduce_to_voxels,
    unique_keys,
)


def coordinates(axes):
    shape = st.tuples(st.integers(0, 60), st.just(axes))
    return hnp.arrays(np.int32, shape, elements=st.integers(-1000, 1000) | st.integers(-3, 3))


def unique(coords, alignment):
    columns = np.ascontiguousarray(coords.T)
    packing = choose_packing(columns, alignment)
    keys, rows = unique_keys(packing.pack(columns), sum(packing.bits))
    return keys, rows, packing


def test_quantize_is_floor_in_double_precision():
    points = np.random.default_rng(0).uniform(-5, 5, (1000, 3)).astype(np.float32)
    points[:5, 0] = [0.0, -0.02, 0.02, -1e-8, 0.06]
    expected = np.floor(points.astype(np.float64) / 0.02).astype(np.int32)
    np.testing.assert_array_equal(quantize(points, 0.02).T, expected)


@settings(max_examples=150, deadline=None)
@given(coordinates(4), st.sampled_from([(1, 1, 1, 1), (16, 16, 16, 1), (8, 8, 8, 8)]))
def test_unique_coordinates_and_rows_equal_numpys(coords, alignment):
    keys, rows, packing = unique(coords, alignment)
    expected, inverse = np.unique(coords, axis=0, return_inverse=True)
    np.testing.assert_array_equal(packing.unpack(keys), expected.reshape(-1, 4))
    np.testing.assert_array_equal(rows, inverse.ravel())
    assert rows.dtype == np.int32


@settings(max_examples=150, deadline=None)
@given(coordinates(4), st.booleans())
def test_coarse_rows_equal_unique_floors(coords, stride_time):
    strides = tuple((s, s, s, s if stride_time else 1) for s in (2, 4, 16))
    keys, _, packing = unique(coords, strides[-1])
    expected = tuple(len(np.unique(coords // stride, axis=0)) for stride in strides)
    assert count_coarse_rows(keys, packing, strides) == expected


@settings(max_examples=100, deadline=None)
@given(coordinates(3), st.integers(0, 3))
def test_voxels_of_points_with_the_rows_of_every_level(coords, levels):
    strides = tuple((s, s, s) for s in (2, 4, 8)[:levels])
    voxels = find_voxels(np.ascontiguousarray(coords.T), strides)
    expected, inverse = np.unique(coords, axis=0, return_inverse=True)
    np.testing.assert_array_equal(voxels.coords, expected.reshape(-1, 3))
    np.testing.assert_array_equal(voxels.rows, inverse.ravel())
    needed = tuple(len(np.unique(coords // s, axis=0)) for s in ((1, 1, 1), *strides))
    assert voxels.needed == count_rows(voxels.coords, strides) == needed


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.int64, st.integers(0, 50), elements=st.integers(0, 2**40)))
def test_keys_of_any_width_are_sorted_stably(keys):
    keys = np.concatenate([keys, keys[::2]])
    np.testing.assert_array_equal(argsort_keys(keys, 41), np.argsort(keys, kind="stable"))


def test_reduction_takes_the_first_point_of_each_voxel():
    points = np.array([[0.5, 0, 0], [0.01, 0, 0], [-0.01, 0, 0], [0.015, 0, 0]], np.float32)
    np.testing.assert_array_equal(reduce_to_voxels(points, 0.02), [2, 1, 0])


def test_coordinates_too_wide_for_a_key_are_refused():
    wide = np.array([[-(2**30)] * 3, [2**30] * 3], np.int32)
    with pytest.raises(ValueError, match="more than 63"):
        choose_packing(np.ascontiguousarray(wide.T), (1, 1, 1))


def test_no_points_are_no_voxels():
    none = np.zeros((0, 3), np.float32)
    assert quantize(none, 0.02).shape == (3, 0)
    assert len(reduce_to_voxels(none, 0.02)) == 0
