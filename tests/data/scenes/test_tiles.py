"""Tiles own every row once, keep to the budget, and see their neighbours."""

import numpy as np
import pytest

from fourdc_jax.data.scenes.tiles import split_into_tiles


def build_coords(seed=0, size=(90, 40, 6), share=0.3):
    """Voxels of a box, some of them empty."""
    rng = np.random.default_rng(seed)
    every = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1).reshape(-1, 3)
    return (every[rng.random(len(every)) < share] - [30, 10, 2]).astype(np.int32)


@pytest.mark.parametrize(("max_rows", "margin"), [(4000, 4), (4000, 0), (1500, 8), (100, 50)])
def test_every_row_is_one_tiles_own_within_the_budget(max_rows, margin):
    coords = build_coords()
    tiles = split_into_tiles(coords, max_rows, margin)
    assert len(tiles) > 1
    owned = np.concatenate([tile.rows[tile.own] for tile in tiles])
    np.testing.assert_array_equal(np.sort(owned), np.arange(len(coords)))
    for tile in tiles:
        assert len(tile.rows) <= max_rows
        assert (np.diff(tile.rows) > 0).all()
        assert tile.own.any()


def test_a_tile_sees_all_that_is_within_its_margin():
    coords, margin = build_coords(), 5
    for tile in split_into_tiles(coords, 3000, margin):
        own = coords[tile.rows[tile.own], :2]
        gap = np.maximum(own.min(axis=0) - coords[:, :2], coords[:, :2] - own.max(axis=0))
        near = np.flatnonzero(gap.max(axis=1) <= margin)
        assert np.isin(near, tile.rows).all()


def test_a_scene_that_fits_is_one_tile():
    coords = build_coords()
    (tile,) = split_into_tiles(coords, len(coords), 3)
    assert len(tile.rows) == len(coords)
    assert tile.own.all()


def test_a_budget_below_one_column_is_told():
    with pytest.raises(ValueError, match="max_rows is 2, less than the voxels above one spot"):
        split_into_tiles(build_coords(share=1.0), 2, 4)
