"""MaskedBatchNorm against float64 statistics of exactly the valid rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fourdc_jax import kernels
from fourdc_jax.sparse import batch_norm as module
from fourdc_jax.sparse.batch_norm import (
    BLOCK_ROWS,
    MaskedBatchNorm,
    block_moments,
    merge_moments,
)

EPSILON = 1e-5
batch_norm = jax.jit(module.batch_norm, static_argnums=(4, 5))


@jax.jit
def moments(x, num_rows):
    return merge_moments(block_moments(x, num_rows), None)


def random_rows(n, num_rows, channels=5, seed=0, mean=0.0):
    """Features [n, channels] with garbage-free padding."""
    rng = np.random.default_rng(seed)
    x = rng.normal(mean, rng.uniform(0.5, 2, channels), (n, channels))
    x[num_rows:] = 0
    return x.astype(np.float32)


def normalize_float64(x, scale, bias, num_rows):
    x, scale, bias = (np.asarray(a, np.float64) for a in (x, scale, bias))
    valid = x[:num_rows]
    y = np.zeros_like(x)
    if num_rows:
        std = np.sqrt(valid.var(axis=0) + EPSILON)
        y[:num_rows] = (valid - valid.mean(axis=0)) / std * scale + bias
    return y


SIZES = [(1, 0), (1, 1), (7, 3), (BLOCK_ROWS, BLOCK_ROWS), (BLOCK_ROWS + 1, 130 - 1)]
SIZES += [(4 * BLOCK_ROWS, 300), (1000, 1000), (1000, 999), (1000, 2)]


@pytest.mark.parametrize(("n", "num_rows"), SIZES)
def test_forward_equals_float64(n, num_rows):
    x = random_rows(n, num_rows, mean=3.0)
    scale, bias = jnp.linspace(0.5, 2, 5), jnp.arange(5, dtype=jnp.float32)
    y, batch = batch_norm(jnp.asarray(x), scale, bias, jnp.int32(num_rows), EPSILON, None)
    assert int(batch.count) == num_rows
    np.testing.assert_allclose(y, normalize_float64(x, scale, bias, num_rows), atol=2e-5)
    assert not np.asarray(y)[num_rows:].any()


@pytest.mark.parametrize(("n", "num_rows"), [(7, 3), (300, 257), (300, 1), (5, 0)])
def test_gradients_equal_finite_differences_in_float64(n, num_rows):
    x = random_rows(n, num_rows, mean=1.0)
    scale, bias = jnp.linspace(0.5, 2, 5), jnp.arange(5, dtype=jnp.float32)
    cotangent = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    arguments = [jnp.asarray(x), scale, bias]
    _, vjp = jax.vjp(
        lambda *args: batch_norm(*args, jnp.int32(num_rows), EPSILON, None)[0], *arguments
    )
    dx, dscale, dbias = vjp(jnp.asarray(cotangent))

    def loss(x, scale, bias):
        return np.sum(cotangent * normalize_float64(x, scale, bias, num_rows))

    h = 1e-5
    for index, gradient in enumerate((dx, dscale, dbias)):
        rng = np.random.default_rng(index)
        for _ in range(5):
            direction = rng.normal(size=arguments[index].shape)
            if index == 0:
                direction[num_rows:] = 0
            values = []
            for sign in (1, -1):
                shifted = [np.asarray(a, np.float64) for a in arguments]
                shifted[index] = shifted[index] + sign * h * direction
                values.append(loss(*shifted))
            expected = (values[0] - values[1]) / (2 * h)
            assert np.sum(np.asarray(gradient) * direction) == pytest.approx(
                expected, rel=2e-4, abs=2e-4
            )
    assert not np.asarray(dx)[num_rows:].any()


def test_padding_changes_nothing_whatever_the_cotangents_of_padded_rows():
    x = jnp.asarray(random_rows(40, 40))
    scale, bias = jnp.full(5, 1.5), jnp.full(5, 0.5)
    padded = jnp.concatenate([x, jnp.zeros((100, 5))])

    def run(x, cotangent):
        y, vjp = jax.vjp(
            lambda *args: batch_norm(*args, jnp.int32(40), EPSILON, None)[0], x, scale, bias
        )
        return y, *vjp(jnp.asarray(cotangent))

    small = run(x, jnp.ones_like(x) * jnp.arange(5, dtype=jnp.float32))
    large = run(padded, jnp.ones_like(padded) * jnp.arange(5, dtype=jnp.float32))
    for a, b in zip(small, large):
        np.testing.assert_allclose(a, np.asarray(b)[: len(a)], atol=1e-5)


@pytest.mark.parametrize("mean", [0.0, 1e4])
@pytest.mark.parametrize("outlier", [None, 0, 700])
def test_moments_do_not_cancel(mean, outlier):
    """A mean far from 0, and one extreme row, also where that row is what a block is shifted by."""
    x = random_rows(1000, 900, mean=mean)
    if outlier is not None:
        x[outlier] = -50 * np.abs(x[outlier])
    batch = moments(jnp.asarray(x), jnp.int32(900))
    exact = x[:900].astype(np.float64)
    error = np.abs(batch.mean - exact.mean(axis=0))
    assert np.all(error < 1e-5 * exact.std(axis=0) + 1e-7 * np.abs(exact.mean(axis=0)))
    np.testing.assert_allclose(batch.variance, exact.var(axis=0), rtol=5e-4)


def test_constant_rows_have_no_variance():
    x = np.zeros((300, 3), np.float32)
    x[:200] = 0.1
    batch = moments(jnp.asarray(x), jnp.int32(200))
    np.testing.assert_allclose(batch.variance, 0, atol=1e-12)


def test_running_statistics_follow_torch():
    """running = (1 - m) running + m batch, with the unbiased variance, through two batches."""
    norm = MaskedBatchNorm(momentum=0.2)
    first, second = random_rows(50, 30, seed=1, mean=2.0), random_rows(50, 50, seed=2, mean=-1.0)
    variables = norm.init(jax.random.key(0), jnp.asarray(first), jnp.int32(30), train=True)
    mean, var = np.zeros(5), np.ones(5)
    np.testing.assert_array_equal(variables["batch_stats"]["mean"], mean)
    for x, rows in ((first, 30), (second, 50)):
        args = (variables, jnp.asarray(x), jnp.int32(rows))
        _, update = norm.apply(*args, train=True, mutable=["batch_stats"])
        variables = {**variables, **update}
        mean = 0.8 * mean + 0.2 * x[:rows].astype(np.float64).mean(axis=0)
        var = 0.8 * var + 0.2 * x[:rows].astype(np.float64).var(axis=0, ddof=1)
    np.testing.assert_allclose(variables["batch_stats"]["mean"], mean, atol=1e-6)
    np.testing.assert_allclose(variables["batch_stats"]["var"], var, rtol=1e-5)
    y = norm.apply(variables, jnp.asarray(first), jnp.int32(30), train=False)
    np.testing.assert_allclose(y[:30], (first[:30] - mean) / np.sqrt(var + 1e-5), atol=1e-5)
    assert not np.asarray(y)[30:].any()


@pytest.mark.parametrize("num_rows", [0, 1])
def test_running_statistics_keep_what_a_batch_does_not_define(num_rows):
    norm = MaskedBatchNorm(momentum=0.5)
    x = jnp.asarray(random_rows(4, num_rows, mean=3.0))
    variables = norm.init(jax.random.key(0), x, jnp.int32(num_rows), train=True)
    y, update = norm.apply(variables, x, jnp.int32(num_rows), train=True, mutable=["batch_stats"])
    np.testing.assert_array_equal(y, 0)
    np.testing.assert_array_equal(update["batch_stats"]["var"], 1)
    np.testing.assert_allclose(update["batch_stats"]["mean"], 0.5 * x[0] if num_rows else 0 * x[0])


def shuffled_moments(x, num_rows, sizes, seed=0):
    """Float64 moments of the valid rows in any order, in blocks of the given sizes."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(num_rows)
    blocks = [x[order[start : start + size]].astype(np.float64) for start, size in sizes]
    return kernels.BlockMoments(
        jnp.asarray([[len(b)] for b in blocks], jnp.float32),
        jnp.asarray([b.mean(axis=0) if len(b) else b.sum(axis=0) for b in blocks], jnp.float32),
        jnp.asarray(
            [b.var(axis=0) * len(b) if len(b) else b.sum(axis=0) for b in blocks], jnp.float32
        ),
    )


SIZES_OF_BLOCKS = [
    [(0, 64), (64, 64), (128, 64), (192, 8), (200, 0), (200, 0)],
    [(0, 0), (0, 1), (1, 199)],
    [(0, 200)],
]


@pytest.mark.parametrize("sizes", SIZES_OF_BLOCKS)
def test_known_moments_are_merged_exactly(sizes):
    """Blocks of any size and in any order, empty ones too, far from 0."""
    x = random_rows(256, 200, mean=1e3)
    batch = jax.jit(merge_moments, static_argnums=1)(shuffled_moments(x, 200, sizes), None)
    exact = x[:200].astype(np.float64)
    assert int(batch.count) == 200
    np.testing.assert_allclose(batch.mean, exact.mean(axis=0), rtol=3e-7)
    np.testing.assert_allclose(batch.variance, exact.var(axis=0), rtol=2e-4)


def test_known_moments_change_neither_result_nor_gradient():
    x = random_rows(256, 200, mean=2.0)
    known = shuffled_moments(x, 200, SIZES_OF_BLOCKS[0])
    scale, bias = jnp.linspace(0.5, 2, 5), jnp.arange(5, dtype=jnp.float32)
    cotangent = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)

    def run(known):
        y, vjp = jax.vjp(
            lambda *args: batch_norm(*args, jnp.int32(200), EPSILON, None, known)[0],
            *(jnp.asarray(x), scale, bias),
        )
        return y, *vjp(jnp.asarray(cotangent))

    for a, b in zip(run(known), run(None)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_known_moments_are_what_is_used():
    """Those of another x give that one's statistics: x is not read for them."""
    norm = MaskedBatchNorm(momentum=1.0)
    x, other = random_rows(256, 200), random_rows(256, 200, seed=1, mean=3.0)
    known = shuffled_moments(other, 200, SIZES_OF_BLOCKS[0])
    variables = norm.init(jax.random.key(0), jnp.asarray(x), jnp.int32(200), train=True)
    _, update = norm.apply(
        *(variables, jnp.asarray(x), jnp.int32(200)),
        train=True,
        moments=known,
        mutable=["batch_stats"],
    )
    expected = other[:200].astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(update["batch_stats"]["mean"], expected, rtol=1e-6)


@pytest.mark.parametrize("split", [(30, 50), (0, 50), (1, 1), (0, 0)])
def test_two_devices_equal_one(split):
    """Statistics, outputs and all gradients; a device without rows is fine."""
    full = [random_rows(50, rows, seed=i, mean=float(i)) for i, rows in enumerate(split)]
    scale, bias = jnp.full(5, 1.5), jnp.full(5, 0.5)
    cotangent = np.random.default_rng(3).normal(size=(2, 50, 5)).astype(np.float32)

    def run(axis_name, x, num_rows, cotangent):
        (y, batch), vjp = jax.vjp(
            lambda *args: batch_norm(*args, num_rows, EPSILON, axis_name), x, scale, bias
        )
        zeros = jax.tree.map(jnp.zeros_like, batch)
        return y, batch, vjp((cotangent, zeros))

    counts = jnp.asarray(split, jnp.int32)
    y, batch, (dx, dscale, dbias) = jax.pmap(
        lambda *args: run("device", *args), axis_name="device"
    )(jnp.stack(full), counts, cotangent)

    rows = sum(split)
    padding = [np.zeros((3, 5), np.float32)]
    joined = jnp.concatenate([x[:k] for x, k in zip(full, split)] + padding)
    together = jnp.concatenate([c[:k] for c, k in zip(cotangent, split)] + padding)
    y1, batch1, (dx1, dscale1, dbias1) = run(None, joined, jnp.int32(rows), together)

    def rejoin(a):
        return np.concatenate([np.asarray(a)[i, :k] for i, k in enumerate(split)])

    np.testing.assert_allclose(rejoin(y), y1[:rows], atol=2e-5)
    np.testing.assert_allclose(rejoin(dx), dx1[:rows], atol=2e-5)
    np.testing.assert_allclose(np.asarray(dscale).sum(axis=0), dscale1, atol=1e-4)
    np.testing.assert_allclose(np.asarray(dbias).sum(axis=0), dbias1, atol=1e-4)
    for pair, one in zip(batch, batch1):
        np.testing.assert_array_equal(pair[0], pair[1])
        np.testing.assert_allclose(pair[0], one, rtol=1e-5, atol=1e-6)


def test_bfloat16_keeps_float32_statistics():
    x = jnp.asarray(random_rows(1000, 1000, mean=5.0), jnp.bfloat16)
    y, batch = batch_norm(x, jnp.ones(5), jnp.zeros(5), jnp.int32(1000), EPSILON, None)
    assert y.dtype == jnp.bfloat16
    assert batch.mean.dtype == jnp.float32
    np.testing.assert_allclose(batch.mean, np.asarray(x, np.float64).mean(axis=0), rtol=1e-6)
