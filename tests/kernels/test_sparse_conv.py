"""Every convolution against a float64 dense convolution, forward and both gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fourdc_jax.kernels.implementation import resolve
from oracles import dense

from fourdc_jax import kernels

KERNELS = [
    (1, 3, "hypercube"), (1, 5, "hypercube"),
    (2, 3, "hypercube"), (2, (3, 1), "hypercube"), (2, 3, "hypercross"),
    (3, 1, "hypercube"), (3, 3, "hypercube"), (3, 5, "hypercube"), (3, 3, "hypercross"),
    (3, (3, 3, 1), "hypercube"),
    (4, 3, "hypercube"), (4, 3, "hypercross"), (4, 3, "hybrid"), (4, (3, 3, 3, 1), "hypercube"),
]  # fmt: skip


def close(actual, expected, length):
    """Equal up to float32 rounding of sums of `length` terms."""
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-7 * scale * np.sqrt(length) * 4)


def forward_and_gradients(function, features, weights, cotangent):
    out, pullback = jax.vjp(function, features, weights)
    return (out, *pullback(cotangent))


def random_problem(rng, n, capacity, c_in, c_out, volume):
    features = dense.pad_rows(rng.normal(size=(n, c_in)).astype(np.float32), capacity, 0)
    weights = rng.normal(size=(volume, c_in, c_out)).astype(np.float32)
    return features, weights


@pytest.mark.parametrize(("dimension", "kernel_size", "kernel_type"), KERNELS)
@pytest.mark.parametrize(("tensor_stride", "c_in"), [(1, 12), (2, 3)])
def test_submanifold_equals_dense(dimension, kernel_size, kernel_type, tensor_stride, c_in):
    rng = np.random.default_rng(0)
    n = {1: 5, 2: 17, 3: 67, 4: 101}[dimension]
    coords = dense.random_coords(rng, n, dimension, tensor_stride=tensor_stride)
    offsets = kernels.kernel_offsets(kernel_size, dimension, kernel_type)
    features, weights = random_problem(rng, n, n + 6, c_in, 7, len(offsets))
    cotangent = dense.pad_rows(rng.normal(size=(n, 7)).astype(np.float32), n + 6, 0)

    @jax.jit
    def run(coords, num_rows, features, weights, cotangent):
        kmap = kernels.build_kernel_map(
            coords, num_rows, kernel_size=kernel_size, kernel_type=kernel_type,
            tensor_stride=tensor_stride,
        )  # fmt: skip
        conv = lambda x, w: kernels.sparse_conv(x, w, kmap)  # noqa: E731
        return forward_and_gradients(conv, features, weights, cotangent)

    padded = dense.pad_rows(coords, n + 6, kernels.PAD_COORDINATE)
    out, grad_x, grad_w = run(padded, jnp.int32(n), features, weights, cotangent)
    strides = (tensor_stride,) * dimension
    expected = dense.value_and_gradients(
        lambda x, w: dense.submanifold(coords, x, w, offsets, strides),
        features[:n], weights, cotangent[:n],
    )  # fmt: skip
    close(out[:n], expected[0], len(offsets) * c_in)
    close(grad_x[:n], expected[1], len(offsets) * 7)
    close(grad_w, expected[2], n)
    assert not np.any(out[n:])
    assert not np.any(grad_x[n:])


@pytest.mark.parametrize(
    ("stride", "tensor_stride"),
    [
        ((2,), (1,)), ((3,), (2,)), ((2, 2), (1, 1)), ((2, 1), (2, 1)), ((2, 2, 2), (1, 1, 1)),
        ((2, 2, 2), (4, 4, 4)), ((3, 2, 1), (1, 2, 1)), ((2, 2, 2, 2), (1, 1, 1, 1)),
        ((2, 2, 2, 1), (2, 2, 2, 1)),
    ],
)  # fmt: skip
def test_strided_and_transposed_equal_dense(stride, tensor_stride):
    rng = np.random.default_rng(1)
    dimension, volume = len(stride), int(np.prod(stride))
    n = {1: 5, 2: 17, 3: 67, 4: 101}[dimension]
    coords = dense.random_coords(rng, n, dimension, tensor_stride=tensor_stride)
    capacity = n + 3
    padded = dense.pad_rows(coords, n + 6, kernels.PAD_COORDINATE)
    down = jax.jit(
        lambda c, k: kernels.downsample(
            c, k, stride=stride, tensor_stride=tensor_stride, capacity=capacity
        )
    )(padded, jnp.int32(n))
    coarse = int(down.num_rows)
    coarse_coords = np.asarray(down.coords)[:coarse]
    spacing = np.array([1, *np.multiply(stride, tensor_stride)])
    floored = np.floor_divide(coords, spacing) * spacing
    order = np.unique(floored, axis=0, return_index=True)[1]
    np.testing.assert_array_equal(coarse_coords, floored[np.sort(order)])
    assert int(down.rows_needed) == coarse

    features, weights = random_problem(rng, n, n + 6, 5, 7, volume)
    cotangent = dense.pad_rows(rng.normal(size=(coarse, 7)).astype(np.float32), capacity, 0)
    down_conv = lambda x, w: kernels.strided_conv(x, w, down)  # noqa: E731
    actual = jax.jit(lambda *a: forward_and_gradients(down_conv, *a))(features, weights, cotangent)
    expected = dense.value_and_gradients(
        lambda x, w: dense.strided(coords, x, w, stride, tensor_stride, coarse_coords),
        features[:n], weights, cotangent[:coarse],
    )  # fmt: skip
    close(actual[0][:coarse], expected[0], volume * 5)
    close(actual[1][:n], expected[1], 7)
    close(actual[2], expected[2], n)
    assert not np.any(actual[0][coarse:])
    assert not np.any(actual[1][n:])

    features, weights = random_problem(rng, coarse, capacity, 5, 7, volume)
    cotangent = dense.pad_rows(rng.normal(size=(n, 7)).astype(np.float32), n + 6, 0)
    up_conv = lambda x, w: kernels.transposed_conv(x, w, down)  # noqa: E731
    actual = jax.jit(lambda *a: forward_and_gradients(up_conv, *a))(features, weights, cotangent)
    expected = dense.value_and_gradients(
        lambda x, w: dense.transposed(coarse_coords, x, w, stride, tensor_stride, coords),
        features[:coarse], weights, cotangent[:n],
    )  # fmt: skip
    close(actual[0][:n], expected[0], 5)
    close(actual[1][:coarse], expected[1], volume * 7)
    close(actual[2], expected[2], n)
    assert not np.any(actual[0][n:])
    assert not np.any(actual[1][coarse:])


def run_all(coords, num_rows, features, weights, strided_weights, capacity):
    """Every operation, forward and backward, in one jitted function."""

    def outputs(features, weights, strided_weights):
        kmap = kernels.build_kernel_map(coords, num_rows)
        down = kernels.downsample(coords, num_rows, capacity=capacity)
        same = kernels.sparse_conv(features, weights, kmap)
        coarse = kernels.strided_conv(same, strided_weights, down)
        return same, kernels.transposed_conv(coarse, strided_weights.transpose(0, 2, 1), down)

    out, pullback = jax.vjp(outputs, features, weights, strided_weights)
    return out, pullback(jax.tree.map(jnp.ones_like, out))


@pytest.mark.parametrize(("n", "capacity"), [(0, 1), (0, 9), (1, 1), (1, 8), (33, 33), (33, 130)])
def test_sizes_from_nothing_to_full(n, capacity):
    """Empty, single, odd and completely full arrays give the full array's values, and no NaN."""
    rng = np.random.default_rng(n)
    coords = dense.random_coords(rng, n, 3)
    features, weights = random_problem(rng, n, n, 4, 6, 27)
    strided_weights = rng.normal(size=(8, 6, 5)).astype(np.float32)
    padded_coords = dense.pad_rows(coords, capacity, kernels.PAD_COORDINATE)
    padded_features = dense.pad_rows(features, capacity, 0)
    (same, back), gradients = jax.jit(run_all, static_argnums=5)(
        padded_coords, jnp.int32(n), padded_features, weights, strided_weights, capacity
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((same, back, gradients)))
    assert not np.any(same[n:])
    assert not np.any(back[n:])
    if n:
        offsets = kernels.kernel_offsets(3, 3)
        expected = dense.value_and_gradients(
            lambda x, w: dense.submanifold(coords, x, w, offsets, (1, 1, 1)),
            features, weights, np.zeros((n, 6)),
        )[0]  # fmt: skip
        close(same[:n], expected, 27 * 4)


def test_many_tiles_equal_dense():
    """More pairs in a list than a tile holds."""
    rng = np.random.default_rng(2)
    n = 9001
    coords = dense.random_coords(rng, n, 3, batch=2, extent=24)
    coords = coords[np.lexsort(coords.T[::-1])]
    offsets = kernels.kernel_offsets(3, 3)
    features, weights = random_problem(rng, n, n, 12, 16, 27)
    cotangent = rng.normal(size=(n, 16)).astype(np.float32)
    kmap = jax.jit(kernels.build_kernel_map)(coords, jnp.int32(n))
    assert int(kmap.pairs.counts.max()) > kmap.pairs.tile
    conv = lambda x, w: kernels.sparse_conv(x, w, kmap)  # noqa: E731
    actual = jax.jit(lambda *a: forward_and_gradients(conv, *a))(features, weights, cotangent)
    expected = dense.value_and_gradients(
        lambda x, w: dense.submanifold(coords, x, w, offsets, (1, 1, 1)),
        features, weights, cotangent,
    )  # fmt: skip
    for a, e, length in zip(actual, expected, (27 * 12, 27 * 16, n)):
        close(a, e, length)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_accumulates_in_float32(dtype):
    """The result is the float32 result of the rounded inputs, rounded once."""
    rng = np.random.default_rng(3)
    coords = dense.random_coords(rng, 60, 3)
    kmap = jax.jit(kernels.build_kernel_map)(coords, jnp.int32(60))
    features = jnp.asarray(rng.normal(size=(60, 16)), dtype)
    weights = jnp.asarray(rng.normal(size=(27, 16, 8)), dtype)
    conv = jax.jit(kernels.sparse_conv)
    out = conv(features, weights, kmap)
    exact = conv(features.astype(jnp.float32), weights.astype(jnp.float32), kmap)
    assert out.dtype == dtype
    step = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(out.astype(np.float32), exact, rtol=step, atol=1e-4)


def test_runs_are_bitwise_equal():
    rng = np.random.default_rng(4)
    coords = dense.random_coords(rng, 120, 3)
    features, weights = random_problem(rng, 120, 120, 8, 6, 27)
    strided_weights = rng.normal(size=(8, 6, 5)).astype(np.float32)
    run = jax.jit(run_all, static_argnums=5)
    results = [run(coords, jnp.int32(120), features, weights, strided_weights, 120) for _ in "ab"]
    for first, second in zip(*map(jax.tree.leaves, results)):
        np.testing.assert_array_equal(first, second)


def test_checkpoint_gives_the_same_gradient():
    rng = np.random.default_rng(5)
    coords = dense.random_coords(rng, 50, 3)
    features, weights = map(jnp.asarray, random_problem(rng, 50, 50, 8, 6, 27))
    kmap = jax.jit(kernels.build_kernel_map)(coords, jnp.int32(50))
    loss = lambda w: jnp.sum(jnp.tanh(kernels.sparse_conv(features, w, kmap)))  # noqa: E731
    plain, remat = jax.jit(jax.grad(loss)), jax.jit(jax.grad(jax.checkpoint(loss)))
    np.testing.assert_allclose(plain(weights), remat(weights), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("features", "weights", "message"),
    [
        ((50, 8), (8, 8, 6), "8 kernel offsets, the map has 27"),
        ((49, 8), (27, 8, 6), "features have 49 rows, the kernel map has 50"),
    ],
)
def test_wrong_shapes_are_named(features, weights, message):
    coords = dense.random_coords(np.random.default_rng(6), 50, 3)
    kmap = jax.jit(kernels.build_kernel_map)(coords, jnp.int32(50))
    with pytest.raises(ValueError, match=message):
        kernels.sparse_conv(jnp.zeros(features), jnp.zeros(weights), kmap)


def test_an_unknown_implementation_raises():
    with pytest.raises(ValueError, match="'cuda' is unknown"):
        resolve("cuda")


def test_triton_without_a_gpu_says_so():
    with pytest.raises(ValueError, match=r"CUDA GPU|not installed"):
        resolve("triton")


def test_a_bias_is_added_to_valid_rows_only():
    rng = np.random.default_rng(7)
    coords = dense.pad_rows(dense.random_coords(rng, 20, 3), 24, kernels.PAD_COORDINATE)
    kmap = jax.jit(kernels.build_kernel_map)(coords, jnp.int32(20))
    features, weights = map(jnp.asarray, random_problem(rng, 20, 24, 8, 6, 27))
    bias = jnp.arange(6, dtype=jnp.float32)
    out, moments = kernels.sparse_conv(features, weights, kmap, bias=bias, with_moments=True)
    plain = kernels.sparse_conv(features, weights, kmap)
    np.testing.assert_array_equal(out[:20], (plain + bias)[:20])
    assert not np.any(out[20:])
    assert moments is None
    with pytest.raises(ValueError, match="one entry for each of 6 channels"):
        kernels.sparse_conv(features, weights, kmap, bias=jnp.zeros(5))


def test_weight_gradients_come_in_the_weights_dtype():
    """Float32 parameters of a bfloat16 network get gradients that were never rounded."""
    rng = np.random.default_rng(8)
    coords = dense.random_coords(rng, 40, 3)
    kmap = jax.jit(kernels.build_kernel_map)(coords, jnp.int32(40))
    features, weights = map(jnp.asarray, random_problem(rng, 40, 40, 16, 12, 27))
    half = features.astype(jnp.bfloat16)

    def gradient(x):
        return jax.grad(lambda w: jnp.sum(kernels.sparse_conv(x, w, kmap).astype(jnp.float32)))(
            weights
        )

    assert gradient(half).dtype == jnp.float32
    np.testing.assert_allclose(
        gradient(half), gradient(half.astype(jnp.float32)), rtol=1e-5, atol=1e-5
    )
