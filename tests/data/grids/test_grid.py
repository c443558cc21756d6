"""Grids of samples joined into that of a batch: the padding contract."""

import numpy as np
import pytest

from fourdc_jax.data.grids.grid import (
    PAD_COORDINATE,
    first_rows,
    join_grids,
    join_rows,
    make_grid,
)


def build_grid(seed, num_rows, items=1):
    rng = np.random.default_rng(seed)
    coords = rng.integers(-9, 9, (num_rows, 4)).astype(np.int32)
    coords[:, 0] = np.sort(rng.integers(0, items, num_rows))
    needed = (num_rows, num_rows // 2, num_rows // 4)
    return make_grid(coords, rng.random((num_rows, 2), np.float32), needed)


def test_pad_coordinate_is_the_engines():
    from fourdc_jax import kernels

    assert kernels.PAD_COORDINATE == PAD_COORDINATE


@pytest.mark.parametrize("items", [1, 4])
def test_grids_follow_each_other_as_batch_items(items):
    parts = [build_grid(seed, count, items) for seed, count in enumerate((30, 1, 0, 17))]
    joined = join_grids(parts, 64, items)
    assert joined.num_rows == 48
    assert first_rows(parts).tolist() == [0, 30, 31, 31]
    for index, (part, first) in enumerate(zip(parts, first_rows(parts))):
        rows = slice(first, first + len(part.coords))
        offset = np.array([index * items, 0, 0, 0], np.int32)
        np.testing.assert_array_equal(joined.coords[rows], part.coords + offset)
        np.testing.assert_array_equal(joined.features[rows], part.features)
    assert (joined.coords[48:] == PAD_COORDINATE).all()
    assert (joined.features[48:] == 0).all()
    assert joined.needed.tolist() == np.sum([part.needed for part in parts], axis=0).tolist()


def test_a_batch_has_the_types_and_shapes_that_it_is_compiled_for():
    joined = join_grids([build_grid(0, 5)], 8)
    types = {name: (array.shape, array.dtype) for name, array in joined._asdict().items()}
    assert types == {
        "coords": ((8, 4), np.int32),
        "num_rows": ((), np.int32),
        "features": ((8, 2), np.float32),
        "needed": ((3,), np.int32),
    }


def test_joining_changes_no_sample():
    part = build_grid(1, 6)
    before = part.coords.copy()
    join_grids([build_grid(0, 4), part], 16)
    np.testing.assert_array_equal(part.coords, before)


def test_more_rows_than_the_capacity_are_an_error():
    with pytest.raises(ValueError, match="shape"):
        join_rows([np.arange(5), np.arange(4)], 8, padding=-1)
