"""The parts of the Triton convolutions, in the interpreter: tiles, splits and index widths.

The operation as a whole is tested in test_sparse_conv.py. The interpreter fills memory that a
kernel has not written with NaN; here the padded rows of features and cotangents hold NaN too:
nothing of either may reach a result.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fourdc_jax.kernels.kernel_map.maps import Tiles
from fourdc_jax.kernels.sparse_conv import triton_gemm, triton_narrow, triton_weight_gradient
from fourdc_jax.kernels.sparse_conv.tile_table import Tile
from fourdc_jax.kernels.sparse_conv.triton_gemm import implicit_gemm, needs_wide_index
from fourdc_jax.kernels.sparse_conv.triton_narrow import narrow_conv, narrow_weight_gradient
from fourdc_jax.kernels.sparse_conv.triton_weight_gradient import weight_gradient
from oracles import dense

from fourdc_jax import kernels

pytest.importorskip("triton")

HOW = {"precision": "ieee", "implementation": "interpret"}


def make_map(rng, n, capacity, dimension=3, extent=4, **options):
    """Coordinates of two batch items on both sides of the origin, and their map."""
    coords = dense.random_coords(rng, n, dimension, extent=extent)
    padded = dense.pad_rows(coords, capacity, kernels.PAD_COORDINATE)
    build = jax.jit(partial(kernels.build_kernel_map, implementation="interpret", **options))
    return coords, build(padded, jnp.int32(n))


def poison(values, capacity, dtype):
    """Padded rows hold NaN."""
    return jnp.asarray(dense.pad_rows(values, capacity, np.nan), dtype)


def check(actual, expected, dtype, terms):
    """Equal up to float32 sums of `terms` products and one rounding to the dtype."""
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    eps = float(jnp.finfo(dtype).eps) if dtype != jnp.float32 else 0.0
    np.testing.assert_allclose(
        np.asarray(actual, np.float64), expected, rtol=eps, atol=1e-6 * scale * np.sqrt(terms)
    )


def run(conv, features, weights, bias, cotangent):
    """Result and the gradients of features, weights and bias."""
    out, pullback = jax.vjp(conv, features, weights, bias)
    return (out, *pullback(cotangent))


@pytest.mark.parametrize(
    "tile",
    [Tile(32, 16, 4, 3), Tile(64, 64, 4, 3), Tile(128, 32, 8, 5), Tile(64, 32, 4, 3, splits=4)],
)
def test_every_tile_gives_the_same_result(tile):
    rng = np.random.default_rng(3)
    n, c_in, c_out = 150, 96, 48
    _, kmap = make_map(rng, n, 200, extent=5, kernel_type="hypercross")
    x = poison(rng.normal(size=(n, c_in)), 200, jnp.float32)
    w = jnp.asarray(rng.normal(size=(7, c_in, c_out)), jnp.float32)
    plain, _ = implicit_gemm(x, w, kmap.tiles, kmap.num_rows, 200, Tile(64, 32, 4, 3), **HOW)
    actual, _ = implicit_gemm(x, w, kmap.tiles, kmap.num_rows, 200, tile, **HOW)
    check(actual, np.asarray(plain), jnp.float32, 27 * c_in)
    assert not np.any(actual[n:])


@pytest.mark.parametrize("splits", [1, 3, 16])
def test_splits_of_a_weight_gradient_share_all_pairs(splits):
    rng = np.random.default_rng(4)
    n = 150
    _, kmap = make_map(rng, n, 160, extent=5, kernel_type="hypercross")
    for c_in, gradient in ((24, "pairs"), (3, "rows")):
        x, g = rng.normal(size=(n, c_in)), rng.normal(size=(n, 20))
        arrays = poison(x, 160, jnp.float32), poison(g, 160, jnp.float32)
        tile = Tile(16, 32, 4, 3, splits)
        if gradient == "pairs":
            actual = weight_gradient(*arrays, kmap.pairs, kmap.num_rows, 7, tile, **HOW)
        else:
            actual = narrow_weight_gradient(*arrays, kmap.rows, kmap.num_rows, tile, **HOW)
        table = np.asarray(kmap.rows)[:, :n]
        expected = np.stack([x[row].T @ (g * (row >= 0)[:, None]) for row in table])
        check(actual, expected, jnp.float32, n)


def test_a_split_tile_has_no_moments():
    _, kmap = make_map(np.random.default_rng(6), 20, 20)
    with pytest.raises(ValueError, match="splits its offsets"):
        implicit_gemm(
            jnp.zeros((20, 16)), jnp.zeros((27, 16, 16)), kmap.tiles, kmap.num_rows, 20,
            Tile(64, 16, 4, 3, splits=2), with_moments=True, **HOW,
        )  # fmt: skip


def test_wide_indices_give_the_same_result(monkeypatch):
    """Arrays of 2^31 elements take another path of the index arithmetic."""
    assert needs_wide_index(5, 2**31)
    assert not needs_wide_index(5, 2**31 - 1)
    rng = np.random.default_rng(7)
    _, kmap = make_map(rng, 40, 50)
    w = jnp.asarray(rng.normal(size=(27, 16, 20)), jnp.float32)
    x, g = rng.normal(size=(40, 16)), poison(rng.normal(size=(40, 20)), 50, jnp.float32)
    for c_in in (3, 16):
        conv = lambda x, w, b: kernels.sparse_conv(  # noqa: E731
            x, w, kmap, implementation="interpret"
        )
        arrays = (poison(x[:, :c_in], 50, jnp.float32), w[:, :c_in], None, g)
        narrow = run(conv, *arrays)[:3]
        with monkeypatch.context() as patch:
            for module in (triton_gemm, triton_narrow, triton_weight_gradient):
                patch.setattr(module, "needs_wide_index", lambda *sizes: True)
            wide = run(conv, *arrays)[:3]
        for a, b in zip(narrow, wide):
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_rows_beyond_two_to_the_31_elements_are_found():
    """The last of 2^31 + elements of the features, read as they are."""
    c, n = 1024, 2**21 + 64
    features = np.zeros((n, c), np.float16)
    features[-1] = 1
    rows = np.full((1, 128), -1, np.int32)
    rows[0, 5] = n - 1
    tiles = Tiles(jnp.asarray(rows), jnp.arange(128, dtype=jnp.int32), jnp.ones((2, 1), jnp.uint32))
    w = jnp.ones((1, c, 16), jnp.float16)
    tile = Tile(64, 64, 4, 3)
    out, _ = implicit_gemm(jnp.asarray(features), w, tiles, jnp.int32(128), 128, tile, **HOW)
    assert float(out[5, 0]) == c
    assert not np.any(np.delete(np.asarray(out), 5, axis=0))


def test_narrow_conv_reads_only_rows_that_hold_data():
    rng = np.random.default_rng(11)
    _, kmap = make_map(rng, 40, 50, kernel_size=5)
    x = rng.normal(size=(40, 3))
    w = jnp.asarray(rng.normal(size=(125, 3, 20)), jnp.float32)
    out = narrow_conv(
        poison(x, 50, jnp.float32), w, kmap.rows, kmap.num_rows, Tile(32, 64, 4, 3), **HOW
    )
    table = np.asarray(kmap.rows)[:, :40]
    neighbours = np.where((table >= 0)[..., None], x[table], 0)  # [k, n, c_in]
    check(out[:40], np.einsum("knc,kcd->nd", neighbours, np.asarray(w)), jnp.float32, 375)
    assert not np.any(out[40:])


def test_a_tile_that_leaves_rows_out_is_refused():
    _, kmap = make_map(np.random.default_rng(13), 20, 20)
    with pytest.raises(ValueError, match="a tile of 96 rows does not divide 256"):
        implicit_gemm(
            jnp.zeros((20, 16)), jnp.zeros((27, 16, 16)), kmap.tiles, kmap.num_rows, 20,
            Tile(96, 16, 4, 3), **HOW,
        )  # fmt: skip
