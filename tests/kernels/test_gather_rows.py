"""Gathered rows and their gradient, of every implementation: sums in the readers' order."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.implementations import ALL_AND_CPU, TRITON

from fourdc_jax import kernels


@pytest.fixture(params=ALL_AND_CPU)
def implementation(request):
    return request.param


@pytest.fixture
def pull_back(implementation):
    """Gradient of the features."""

    @jax.jit
    def gradient(features, rows, grad):
        gather = partial(kernels.gather_rows, rows=rows, implementation=implementation)
        return jax.vjp(gather, features)[1](grad)[0]

    return gradient


def random_case(entries, n=50, seed=0, dtype="float32"):
    """Features, rows of which some are read often and some are absent, and a gradient."""
    rng = np.random.default_rng(seed)
    rows = np.minimum(rng.geometric(0.2, entries) - 2, n - 1).astype(np.int32)  # -1 to n - 1
    grad = rng.normal(size=(entries, 3)).astype(dtype)
    return jnp.asarray(rng.normal(size=(n, 3)), dtype), rows, grad


def test_absent_rows_are_zero_and_have_no_gradient(pull_back, implementation):
    features = jax.random.normal(jax.random.key(0), (5, 3))
    rows = jnp.asarray([[1, -1], [1, 4]], jnp.int32)
    gathered = kernels.gather_rows(features, rows, implementation=implementation)
    np.testing.assert_array_equal(gathered[0, 0], features[1])
    np.testing.assert_array_equal(gathered[0, 1], 0)
    expected = np.zeros((5, 3))
    expected[1], expected[4] = 2, 1
    np.testing.assert_array_equal(pull_back(features, rows, jnp.ones_like(gathered)), expected)


@pytest.mark.parametrize("entries", [1, 2, 3, 64, 1000])
def test_gradient_is_the_sum_over_readers_in_float64(pull_back, entries):
    features, rows, grad = random_case(entries)
    expected = np.zeros(features.shape)
    np.add.at(expected, rows[rows >= 0], grad[rows >= 0].astype(np.float64))
    np.testing.assert_allclose(pull_back(features, rows, grad), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [[7] * 100, [-1] * 4, list(range(50)), [49, 0, 49]])
def test_one_row_for_all_none_at_all_and_every_row_once(pull_back, rows):
    features, grad = random_case(len(rows))[::2]
    expected = np.zeros(features.shape)
    for row, value in zip(rows, grad):
        expected[row] += value * (row >= 0)
    result = pull_back(features, jnp.asarray(rows, jnp.int32), grad)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_gradient_of_a_row_depends_on_its_own_readers_alone(pull_back):
    """Bitwise, whoever else reads: only the order of its readers among themselves counts."""
    features, rows, grad = random_case(500)
    alone = np.where(rows == 2, rows, -1)
    assert (rows == 2).sum() > 30
    whole = pull_back(features, rows, grad)
    np.testing.assert_array_equal(whole[2], pull_back(features, alone, grad)[2])
    own = rows == 2
    np.testing.assert_array_equal(whole[2], pull_back(features, rows[own], grad[own])[2])
    by_row = np.argsort(-rows, kind="stable")
    np.testing.assert_array_equal(whole, pull_back(features, rows[by_row], grad[by_row]))


def test_equal_terms_may_be_exchanged(pull_back):
    """Bitwise, a permutation of readers that bring the same gradient."""
    features, rows, grad = random_case(500)
    grad = grad[:50][rows]  # a function of the row
    permuted = np.random.default_rng(1).permutation(500)
    np.testing.assert_array_equal(
        pull_back(features, rows, grad), pull_back(features, rows[permuted], grad[permuted])
    )


def test_more_channels_than_a_program_takes(pull_back):
    rng = np.random.default_rng(2)
    rows, grad = rng.integers(0, 40, 90).astype(np.int32), rng.normal(size=(90, 200))
    expected = np.zeros((40, 200))
    np.add.at(expected, rows, grad)
    result = pull_back(jnp.zeros((40, 200)), rows, grad.astype(np.float32))
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("implementation", [TRITON], indirect=True)
def test_sums_of_real_size_repeat_bitwise(pull_back):
    """Rows that hundreds of others read, and readers of a whole batch."""
    rng = np.random.default_rng(3)
    rows = np.minimum(rng.geometric(0.001, 200_000) - 2, 9_999).astype(np.int32)
    grad = rng.normal(size=(200_000, 96)).astype(np.float32)
    features = jnp.zeros((10_000, 96))
    expected = np.zeros(features.shape)
    np.add.at(expected, rows[rows >= 0], grad[rows >= 0].astype(np.float64))
    first = pull_back(features, rows, grad)
    np.testing.assert_allclose(first, expected, rtol=1e-5, atol=1e-3)
    np.testing.assert_array_equal(first, pull_back(features, rows, grad))


def test_other_dtypes_of_rows_are_refused():
    with pytest.raises(ValueError, match="int32 rows are needed, got rows of int8"):
        kernels.gather_rows(jnp.zeros((3, 2)), jnp.zeros(4, jnp.int8))


def test_bfloat16_is_summed_in_float32(pull_back):
    features = jnp.zeros((3, 1), jnp.bfloat16)
    grad = jnp.ones((1000, 1), jnp.bfloat16)  # a bfloat16 sum of ones stops at 256
    result = pull_back(features, jnp.ones(1000, jnp.int32), grad)
    assert result.dtype == jnp.bfloat16
    np.testing.assert_array_equal(result, [[0], [1000], [0]])
