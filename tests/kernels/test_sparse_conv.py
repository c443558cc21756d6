"""Sparse convolution over all implementations and all three maps.

Against dense convolutions in float64: result, both gradients and the bias'. The kernels' own parts
are tested in test_conv_kernels.py, real sizes in test_sparse_conv_rooms.py.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.convolutions import (
    CONVOLUTIONS,
    KINDS,
    Case,
    build_map,
    check,
    conv_map_of,
    make_arrays,
    run,
)
from fixtures.implementations import ALL, KERNELS
from oracles import dense

from fourdc_jax import kernels

ROWS = {1: 5, 2: 17, 3: 67, 4: 101}  # by dimension: no multiple of a tile
SUBMANIFOLD = [  # dimension, size, type, tensor stride, input channels
    (1, 3, "hypercube", 1, 12), (1, 5, "hypercube", 2, 3),
    (2, 3, "hypercube", 1, 3), (2, (3, 1), "hypercube", 2, 12), (2, 3, "hypercross", 1, 12),
    (3, 1, "hypercube", 1, 3), (3, 1, "hypercube", 2, 12),
    (3, 3, "hypercube", 1, 12), (3, 3, "hypercube", 2, 3),
    (3, 5, "hypercube", 1, 3), (3, 5, "hypercube", 2, 12),
    (3, 3, "hypercross", 2, 12), (3, (3, 3, 1), "hypercube", 1, 3),
    (4, 3, "hypercube", 1, 12), (4, 3, "hypercube", 2, 3), (4, 3, "hypercross", 1, 3),
    (4, 3, "hybrid", 1, 3), (4, 3, "hybrid", 2, 12), (4, (3, 3, 3, 1), "hypercube", 2, 12),
]  # fmt: skip
STRIDED = [
    ((2,), (1,)), ((3,), (2,)), ((2, 2), (1, 1)), ((2, 1), (2, 1)), ((2, 2, 2), (1, 1, 1)),
    ((2, 2, 2), (4, 4, 4)), ((3, 2, 1), (1, 2, 1)), ((2, 2, 2, 2), (1, 1, 1, 1)),
    ((2, 2, 2, 1), (2, 2, 2, 1)),
]  # fmt: skip
CHANNELS = [
    (1, 16), (3, 32), (16, 1), (32, 48), (48, 100), (100, 3), (96, 96), (64, 256), (256, 32),
]  # fmt: skip
HALF = [
    ("submanifold", 3, 32), ("submanifold", 48, 100), ("submanifold", 96, 96),
    ("strided", 32, 96), ("transposed", 32, 96),
]  # fmt: skip
PATHS = [("submanifold", 3), ("submanifold", 16), ("strided", 16), ("transposed", 16)]
SIZES = {"submanifold": 3, "strided": (2, 2, 2), "transposed": (2, 2, 2)}

every_kind = pytest.mark.parametrize("kind", KINDS)
everywhere = pytest.mark.parametrize("implementation", ALL)
on_kernels = pytest.mark.parametrize("implementation", KERNELS)


def case_of(kind, **options):
    return Case(kind, size=SIZES[kind], **options)


@everywhere
@pytest.mark.parametrize(("dimension", "size", "kernel_type", "tensor_stride", "c_in"), SUBMANIFOLD)
def test_every_kernel(dimension, size, kernel_type, tensor_stride, c_in, implementation):
    case = Case(
        "submanifold", ROWS[dimension], size, kernel_type, c_in, 7,
        dimension=dimension, tensor_stride=tensor_stride,
    )  # fmt: skip
    check(case, implementation)


@everywhere
@pytest.mark.parametrize("kind", ["strided", "transposed"])
@pytest.mark.parametrize(("stride", "tensor_stride"), STRIDED)
def test_every_stride(stride, tensor_stride, kind, implementation):
    dimension = len(stride)
    options = {"dimension": dimension, "tensor_stride": tensor_stride}
    check(Case(kind, ROWS[dimension], stride, c_in=5, c_out=7, **options), implementation)


@everywhere
@pytest.mark.parametrize(("c_in", "c_out"), CHANNELS)
def test_every_number_of_channels(c_in, c_out, implementation):
    check(Case("submanifold", c_in=c_in, c_out=c_out), implementation)


@everywhere
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(("kind", "c_in", "c_out"), HALF)
def test_half_precision_accumulates_in_float32(kind, c_in, c_out, dtype, implementation):
    """One rounding of exact sums; gradients of float32 weights were never rounded."""
    check(case_of(kind, c_in=c_in, c_out=c_out, dtype=dtype), implementation)


@everywhere
@pytest.mark.parametrize(("kind", "c_in"), PATHS)
@pytest.mark.parametrize(("n", "spare"), [(0, 0), (0, 9), (1, 0), (1, 199), (33, 0), (128, 0)])
def test_sizes_from_nothing_to_full(n, spare, kind, c_in, implementation):
    check(case_of(kind, n=n, spare=spare, c_in=c_in, bias=False), implementation)


@everywhere
@pytest.mark.parametrize(("kind", "c_in"), PATHS)
def test_more_rows_than_a_tile_holds(kind, c_in, implementation):
    """More pairs in a list than XLA takes at a time; more rows than a program's."""
    n, extent = (400, 7) if implementation == "interpret" else (9001, 24)
    check(case_of(kind, n=n, c_in=c_in, c_out=16, extent=extent), implementation)


@everywhere
def test_a_kernel_of_size_1_has_no_lists(implementation):
    check(Case("submanifold", 300, 1, extent=8), implementation)


@everywhere
def test_rows_that_a_coarse_level_left_out_become_0(implementation):
    rng = np.random.default_rng(2)
    coords = dense.random_coords(rng, 60, 3)
    options = {"capacity": 7, "implementation": implementation}
    down = kernels.downsample(jnp.asarray(coords), jnp.int32(60), **options)
    assert int(down.rows_needed) > 7
    x, w = rng.normal(size=(7, 16)), rng.normal(size=(8, 16, 16))
    arrays = (jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32))
    out = kernels.transposed_conv(*arrays, down, implementation=implementation)
    parents, child = np.asarray(down.parents), (coords[:, 1:] % 2) @ [1, 2, 4]
    expected = np.where(parents[:, None] >= 0, np.einsum("nc,ncd->nd", x[parents], w[child]), 0)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-4)
    assert not np.any(out[parents < 0])


@everywhere
@pytest.mark.parametrize(("kind", "c_in"), PATHS)
def test_more_rows_than_there_are_change_nothing(kind, c_in, implementation):
    """A number of rows beyond the arrays reads nothing beyond them."""
    case = case_of(kind, n=40, spare=0, c_in=c_in)
    right = build_map(case, implementation)
    name = "num_rows" if kind == "submanifold" else "num_fine_rows"
    wrong = right._replace(**{name: jnp.int32(77)})
    results = [run(case, implementation, sparse_map) for sparse_map in (right, wrong)]
    for expected, actual in zip(*results):
        np.testing.assert_array_equal(expected, actual)


@everywhere
@every_kind
def test_two_runs_are_bitwise_equal(kind, implementation):
    case = case_of(kind, n=120)
    for first, second in zip(run(case, implementation), run(case, implementation)):
        np.testing.assert_array_equal(first, second)


@everywhere
@every_kind
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_moments_are_those_of_the_result(dtype, kind, implementation):
    case = case_of(kind, n=150, spare=150, c_in=32, c_out=48, dtype=dtype, extent=5)
    sparse_map, arrays = build_map(case, implementation), make_arrays(case)
    rows = conv_map_of(kind, sparse_map).shape.inputs
    x = jnp.asarray(dense.pad_rows(arrays.features, rows, 0), dtype)
    w = jnp.asarray(arrays.weights, jnp.float32)
    convolve = partial(CONVOLUTIONS[kind], with_moments=True, implementation=implementation)
    out, moments = jax.jit(convolve)(x, w, sparse_map)
    if implementation == "xla":
        assert moments is None  # they would cost another pass
        return
    counts, means, squares = (np.asarray(part, np.float64) for part in moments)
    n = len(arrays.cotangent)
    y = np.asarray(out, np.float64)[:n]
    assert counts.sum() == n
    mean = (counts * means).sum(0) / n
    square = (squares + counts * (means - mean) ** 2).sum(0)
    tolerance = 1e-5 if dtype == "float32" else 1e-2  # the interpreter rounds after the moments
    np.testing.assert_allclose(mean, y.mean(0), atol=tolerance * np.abs(y).max())
    np.testing.assert_allclose(square, ((y - y.mean(0)) ** 2).sum(0), rtol=tolerance)


@everywhere
@every_kind
def test_runs_under_jit_checkpoint_and_pmap(kind, implementation):
    """The same gradient; several CPU devices run the interpreter at once."""
    case = case_of(kind, n=40, c_out=16)
    sparse_map, arrays = build_map(case, implementation), make_arrays(case)
    rows = conv_map_of(kind, sparse_map).shape.inputs
    x = jnp.asarray(dense.pad_rows(arrays.features, rows, 0), jnp.float32)
    w = jnp.asarray(arrays.weights, jnp.float32)
    convolve = partial(CONVOLUTIONS[kind], implementation=implementation)
    loss = lambda w: jnp.sum(jnp.tanh(convolve(x, w, sparse_map)))  # noqa: E731
    plain = jax.jit(jax.grad(loss))(w)
    again = jax.jit(jax.grad(jax.checkpoint(loss)))(w)
    mapped = jax.pmap(jax.grad(loss))(jnp.stack([w] * jax.local_device_count()))
    for gradient in (again, *mapped):
        np.testing.assert_allclose(gradient, plain, rtol=1e-5, atol=1e-5)
        if implementation != "xla":
            np.testing.assert_array_equal(gradient, plain)


@on_kernels
def test_vmap_is_refused(implementation):
    case = Case("submanifold", n=20)
    kmap, w = build_map(case, implementation), jnp.zeros((1, 27, 16, 16))
    convolve = lambda w: kernels.sparse_conv(  # noqa: E731
        jnp.zeros((26, 16)), w, kmap, implementation=implementation
    )
    with pytest.raises(ValueError, match="batch index is the first column"):
        jax.vmap(convolve)(w)


@on_kernels
@every_kind
def test_a_map_for_xla_is_refused(kind, implementation):
    case = case_of(kind, n=20)
    with pytest.raises(ValueError, match=f"build the map with implementation='{implementation}'"):
        run(case, implementation, build_map(case, "xla"))


@on_kernels
@every_kind
def test_a_triton_map_serves_xla_too(kind, implementation):
    case = case_of(kind, n=300, extent=6)
    one_map = build_map(case, implementation)
    results = [run(case, name, one_map) for name in ("xla", implementation)]
    for ours, xla in zip(*results):
        np.testing.assert_allclose(ours, xla, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "features", "weights", "message"),
    [
        ("submanifold", (50, 8), (8, 8, 6), "8 kernel offsets, the map has 27"),
        ("submanifold", (49, 8), (27, 8, 6), "features have 49 rows, the kernel map has 50"),
        ("strided", (53, 8), (8, 8, 6), "features have 53 rows, the fine level has 50"),
        ("transposed", (50, 8), (8, 8, 6), "features have 50 rows, the coarse level has 53"),
    ],
)
def test_wrong_shapes_are_named(kind, features, weights, message):
    sparse_map = build_map(case_of(kind, n=50, spare=0), "xla")
    with pytest.raises(ValueError, match=message):
        CONVOLUTIONS[kind](jnp.zeros(features), jnp.zeros(weights), sparse_map)


@every_kind
def test_a_wrong_bias_is_named(kind):
    sparse_map = build_map(case_of(kind, n=50, spare=3), "xla")
    arguments = (
        jnp.zeros((53, 8)),
        jnp.zeros((27 if kind == "submanifold" else 8, 8, 6)),
        sparse_map,
    )
    with pytest.raises(ValueError, match="one entry for each of 6 channels"):
        CONVOLUTIONS[kind](*arguments, bias=jnp.zeros(5))
