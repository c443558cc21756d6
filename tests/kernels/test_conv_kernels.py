"""The Triton convolutions in the interpreter, against float64 and the XLA twin.

The interpreter fills memory that a kernel has not written with NaN; here the padded rows of
features and cotangents hold NaN too: nothing of either may reach a result.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fourdc_jax.kernels.kernel_map.maps import KernelMap, Tiles
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


def rounded(rng, shape, dtype):
    """Random values of a dtype, exact in float64."""
    return np.asarray(jnp.asarray(rng.normal(size=shape), dtype)).astype(np.float64)


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


CHANNELS = [
    (1, 16),
    (3, 32),
    (16, 1),
    (32, 48),
    (48, 100),
    (100, 3),
    (96, 96),
    (64, 256),
    (256, 32),
]
HALF = [(3, 32), (48, 100), (96, 96)]


@pytest.mark.parametrize(
    ("c_in", "c_out", "dtype"),
    [(*channels, jnp.float32) for channels in CHANNELS]
    + [(*channels, dtype) for channels in HALF for dtype in (jnp.bfloat16, jnp.float16)],
)
def test_submanifold_equals_dense(c_in, c_out, dtype):
    rng = np.random.default_rng(c_in)
    n, capacity = 67, 75
    coords, kmap = make_map(rng, n, capacity)
    x, w = rounded(rng, (n, c_in), dtype), rounded(rng, (27, c_in, c_out), dtype)
    g, b = rounded(rng, (n, c_out), dtype), rounded(rng, (c_out,), jnp.float32)
    offsets = kernels.kernel_offsets(3, 3)
    expected = dense.value_and_gradients(
        lambda x, w: dense.submanifold(coords, x, w, offsets, (1, 1, 1)), x, w, g
    )
    conv = lambda x, w, b: kernels.sparse_conv(  # noqa: E731
        x, w, kmap, bias=b, implementation="interpret"
    )
    actual = run(
        conv, poison(x, capacity, dtype), jnp.asarray(w, jnp.float32),
        jnp.asarray(b, jnp.float32), poison(g, capacity, dtype),
    )  # fmt: skip
    check(actual[0][:n], expected[0] + b, dtype, 27 * c_in)
    check(actual[1][:n], expected[1], dtype, 27 * c_out)
    check(actual[2], expected[2], jnp.float32, n)
    check(actual[3], g.sum(0), jnp.float32, n)
    assert not np.any(actual[0][n:])
    assert not np.any(actual[1][n:])
    assert actual[2].dtype == jnp.float32


@pytest.mark.parametrize(
    ("dimension", "options"),
    [
        (1, {"kernel_size": 5}), (2, {"kernel_type": "hypercross"}), (3, {"kernel_size": 1}),
        (3, {"kernel_size": 5}), (4, {}), (4, {"kernel_type": "hybrid"}),
        (4, {"kernel_type": "hypercross"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("c_in", [3, 16])
def test_every_kernel_equals_the_xla_twin(dimension, options, c_in):
    rng = np.random.default_rng(dimension)
    n = {1: 5, 2: 17, 3: 41, 4: 61}[dimension]
    coords, kmap = make_map(rng, n, n + 3, dimension, **options)
    twin = jax.jit(partial(kernels.build_kernel_map, implementation="xla", **options))(
        dense.pad_rows(coords, n + 3, kernels.PAD_COORDINATE), jnp.int32(n)
    )
    x = jnp.asarray(dense.pad_rows(rng.normal(size=(n, c_in)), n + 3, 0), jnp.float32)
    g = jnp.asarray(dense.pad_rows(rng.normal(size=(n, 20)), n + 3, 0), jnp.float32)
    w = jnp.asarray(rng.normal(size=(kmap.rows.shape[0], c_in, 20)), jnp.float32)
    results = []
    for name, m in (("interpret", kmap), ("xla", twin)):
        conv = partial(kernels.sparse_conv, kmap=m, implementation=name)
        results.append(run(lambda x, w, b: conv(x, w), x, w, None, g))  # noqa: B023
    for actual, expected in zip(*(result[:3] for result in results)):
        check(actual, np.asarray(expected), jnp.float32, len(w) * 20)


@pytest.mark.parametrize("stride", [(2, 2, 2), (2, 2, 2, 1), (2, 2, 2, 2), (3, 2, 1)])
@pytest.mark.parametrize(("c_in", "c_out", "dtype"), [(5, 48, jnp.float32), (32, 96, jnp.bfloat16)])
def test_strided_and_transposed_equal_dense(stride, c_in, c_out, dtype):
    rng = np.random.default_rng(1)
    dimension, volume = len(stride), int(np.prod(stride))
    n = {3: 67, 4: 101}[dimension]
    coords = dense.random_coords(rng, n, dimension)
    padded = dense.pad_rows(coords, n + 6, kernels.PAD_COORDINATE)
    down = jax.jit(
        lambda c, k: kernels.downsample(
            c, k, stride=stride, capacity=n + 3, implementation="interpret"
        )
    )(padded, jnp.int32(n))
    coarse = int(down.num_rows)
    coarse_coords = np.asarray(down.coords)[:coarse]
    ones = (1,) * dimension
    directions = [
        (
            kernels.strided_conv, n, coarse, (n + 6, n + 3),
            lambda x, w: dense.strided(coords, x, w, stride, ones, coarse_coords),
        ),
        (
            kernels.transposed_conv, coarse, n, (n + 3, n + 6),
            lambda x, w: dense.transposed(coarse_coords, x, w, stride, ones, coords),
        ),
    ]  # fmt: skip
    for conv, inputs, outputs, capacities, oracle in directions:
        x, w = rounded(rng, (inputs, c_in), dtype), rounded(rng, (volume, c_in, c_out), dtype)
        g, b = rounded(rng, (outputs, c_out), dtype), rounded(rng, (c_out,), jnp.float32)
        expected = dense.value_and_gradients(oracle, x, w, g)
        function = lambda x, w, b: conv(x, w, down, bias=b, implementation="interpret")  # noqa
        actual = run(
            function, poison(x, capacities[0], dtype), jnp.asarray(w, jnp.float32),
            jnp.asarray(b, jnp.float32), poison(g, capacities[1], dtype),
        )  # fmt: skip
        check(actual[0][:outputs], expected[0] + b, dtype, volume * c_in)
        check(actual[1][:inputs], expected[1], dtype, volume * c_out)
        check(actual[2], expected[2], jnp.float32, n)
        check(actual[3], g.sum(0), jnp.float32, n)
        assert not np.any(actual[0][outputs:])
        assert not np.any(actual[1][inputs:])


@pytest.mark.parametrize(
    ("n", "capacity"), [(0, 0), (0, 9), (1, 1), (1, 200), (33, 33), (128, 128)]
)
@pytest.mark.parametrize("c_in", [2, 16])
def test_sizes_from_nothing_to_full(n, capacity, c_in):
    rng = np.random.default_rng(n)
    coords, kmap = make_map(rng, n, capacity)
    x, w = rng.normal(size=(n, c_in)), rng.normal(size=(27, c_in, 20))
    g = rng.normal(size=(n, 20))
    conv = lambda x, w, b: kernels.sparse_conv(x, w, kmap, implementation="interpret")  # noqa: E731
    arrays = (poison(x, capacity, jnp.float32), jnp.asarray(w, jnp.float32), None)
    actual = run(conv, *arrays, poison(g, capacity, jnp.float32))[:3]
    assert all(np.isfinite(result).all() for result in actual)
    assert not np.any(actual[0][n:])
    assert not np.any(actual[1][n:])
    if n:
        offsets = kernels.kernel_offsets(3, 3)
        expected = dense.value_and_gradients(
            lambda x, w: dense.submanifold(coords, x, w, offsets, (1, 1, 1)), x, w, g
        )
        for result, exact in zip((actual[0][:n], actual[1][:n], actual[2]), expected):
            check(result, exact, jnp.float32, 27 * 20)


def test_rows_that_a_coarse_level_left_out_become_0():
    rng = np.random.default_rng(2)
    coords = dense.random_coords(rng, 60, 3)
    down = kernels.downsample(
        jnp.asarray(coords), jnp.int32(60), capacity=7, implementation="interpret"
    )
    assert int(down.rows_needed) > 7
    x, w = rng.normal(size=(7, 16)), rng.normal(size=(8, 16, 16))
    out = kernels.transposed_conv(
        jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32), down, implementation="interpret"
    )
    parents = np.asarray(down.parents)
    child = (coords[:, 1:] % 2) @ [1, 2, 4]
    expected = np.where(parents[:, None] >= 0, np.einsum("nc,ncd->nd", x[parents], w[child]), 0)
    check(out, expected, jnp.float32, 16)
    assert not np.any(out[parents < 0])


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


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_moments_are_those_of_the_result(dtype):
    rng = np.random.default_rng(5)
    n, capacity = 150, 300
    _, kmap = make_map(rng, n, capacity, extent=5)
    x = poison(rng.normal(size=(n, 32)), capacity, dtype)
    w = jnp.asarray(rng.normal(size=(27, 32, 48)), jnp.float32)
    out, moments = kernels.sparse_conv(x, w, kmap, with_moments=True, implementation="interpret")
    counts, means, squares = (np.asarray(part, np.float64) for part in moments)
    y = np.asarray(out, np.float64)[:n]
    assert counts.sum() == n
    mean = (counts * means).sum(0) / n
    square = (squares + counts * (means - mean) ** 2).sum(0)
    tolerance = 1e-5 if dtype == jnp.float32 else 1e-2  # the interpreter rounds after the moments
    np.testing.assert_allclose(mean, y.mean(0), atol=tolerance * np.abs(y).max())
    np.testing.assert_allclose(square, ((y - y.mean(0)) ** 2).sum(0), rtol=tolerance)


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


def test_runs_under_jit_checkpoint_and_pmap_and_refuses_vmap():
    rng = np.random.default_rng(8)
    _, kmap = make_map(rng, 40, 44)
    x = poison(rng.normal(size=(40, 16)), 44, jnp.float32)
    w = jnp.asarray(rng.normal(size=(27, 16, 16)), jnp.float32)

    def loss(w):
        return jnp.sum(jnp.tanh(kernels.sparse_conv(x, w, kmap, implementation="interpret")))

    plain = jax.jit(jax.grad(loss))(w)
    np.testing.assert_array_equal(jax.jit(jax.grad(jax.checkpoint(loss)))(w), plain)
    on_devices = jax.pmap(jax.grad(loss))(jnp.stack([w, 2 * w]))
    np.testing.assert_array_equal(on_devices[0], plain)
    with pytest.raises(ValueError, match="batch index is the first column"):
        jax.vmap(loss)(w[None])


def test_a_map_for_xla_is_refused():
    coords = dense.random_coords(np.random.default_rng(9), 20, 3)
    kmap = kernels.build_kernel_map(jnp.asarray(coords), jnp.int32(20), implementation="xla")
    with pytest.raises(ValueError, match="build the map with implementation='interpret' too"):
        kernels.sparse_conv(
            jnp.zeros((20, 4)), jnp.zeros((27, 4, 4)), kmap, implementation="interpret"
        )


def test_a_triton_map_serves_xla_too():
    rng = np.random.default_rng(10)
    _, kmap = make_map(rng, 300, 310, extent=6)
    x = jnp.asarray(dense.pad_rows(rng.normal(size=(300, 16)), 310, 0), jnp.float32)
    w = jnp.asarray(rng.normal(size=(27, 16, 16)), jnp.float32)
    assert isinstance(kmap, KernelMap)
    a, b = (kernels.sparse_conv(x, w, kmap, implementation=name) for name in ("xla", "interpret"))
    check(a, np.asarray(b), jnp.float32, 27 * 16)


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


@pytest.mark.parametrize("c_in", [3, 16])
def test_more_rows_than_there_are_change_nothing(c_in):
    """A wrong `num_rows` reads nothing beyond the arrays."""
    rng = np.random.default_rng(12)
    _, kmap = make_map(rng, 40, 40)
    w = jnp.asarray(rng.normal(size=(27, c_in, 20)), jnp.float32)
    x, g = rng.normal(size=(40, c_in)), rng.normal(size=(40, 20))
    results = []
    for num_rows in (40, 77):
        wrong = kmap._replace(num_rows=jnp.int32(num_rows))
        conv = lambda x, w, b: kernels.sparse_conv(  # noqa: E731
            x,
            w,
            wrong,  # noqa: B023
            implementation="interpret",
        )
        arrays = (jnp.asarray(x, jnp.float32), w, None, jnp.asarray(g, jnp.float32))
        results.append(run(conv, *arrays)[:3])
    for right, other in zip(*results):
        np.testing.assert_array_equal(right, other)


def test_a_tile_that_leaves_rows_out_is_refused():
    _, kmap = make_map(np.random.default_rng(13), 20, 20)
    with pytest.raises(ValueError, match="a tile of 96 rows does not divide 256"):
        implicit_gemm(
            jnp.zeros((20, 16)), jnp.zeros((27, 16, 16)), kmap.tiles, kmap.num_rows, 20,
            Tile(96, 16, 4, 3), **HOW,
        )  # fmt: skip
