"""Cross-entropy and accuracy against float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fourdc_jax.losses.segmentation import accuracy, cross_entropy

IGNORE = 255


def draw(rows=50, classes=7, ignored=0.3, seed=0):
    """Scores of very different size, and labels of which some are ignored."""
    rng = np.random.default_rng(seed)
    logits = (rng.normal(size=(rows, classes)) * rng.choice([1, 30], (rows, 1))).astype(np.float32)
    labels = rng.integers(0, classes, rows).astype(np.int32)
    labels[rng.random(rows) < ignored] = IGNORE
    return logits, labels


def expected(logits, labels):
    """Sum, count and gradient of the sum, in float64."""
    x = logits.astype(np.float64)
    exponentials = np.exp(x - x.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    rows = np.flatnonzero(labels != IGNORE)
    gradient = np.zeros_like(x)
    gradient[rows] = probabilities[rows]
    gradient[rows, labels[rows]] -= 1
    shifted = x - x.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    return (log_sums[rows] - shifted[rows, labels[rows]]).sum(), len(rows), gradient


@pytest.mark.parametrize("ignored", [0.0, 0.3, 1.0])
def test_equals_numpy_with_its_gradient(ignored):
    logits, labels = draw(ignored=ignored)
    total, count, gradient = expected(logits, labels)
    term = cross_entropy(jnp.asarray(logits), jnp.asarray(labels), IGNORE)
    np.testing.assert_allclose(term.sum, total, rtol=1e-6)
    assert float(term.count) == count
    got = jax.grad(lambda x: cross_entropy(x, jnp.asarray(labels), IGNORE).sum)(logits)
    np.testing.assert_allclose(got, gradient, atol=1e-6)


def test_low_precision_scores_are_summed_in_float32():
    logits, labels = draw(rows=3000, ignored=0.0)
    rounded = jnp.asarray(logits, jnp.bfloat16)
    term = cross_entropy(rounded, jnp.asarray(labels), IGNORE)
    assert term.sum.dtype == jnp.float32
    total, _, _ = expected(np.asarray(rounded, np.float32), labels)
    np.testing.assert_allclose(term.sum, total, rtol=1e-5)


def test_accuracy_counts_labelled_rows_only():
    logits, labels = draw()
    labelled = labels != IGNORE
    right = (logits.argmax(axis=1) == labels) & labelled
    term = accuracy(jnp.asarray(logits), jnp.asarray(labels), IGNORE)
    assert (float(term.sum), float(term.count)) == (right.sum(), labelled.sum())
    assert 0 < right.sum() < labelled.sum()
