"""Cross-entropy and accuracy over the rows that have a class."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from fourdc_jax.losses.term import Term


def cross_entropy(
    logits: Float[Array, "n classes"], labels: Int32[Array, "n"], ignore: int
) -> Term:
    """Sum over labelled rows of -log softmax(logits)[label], in float32, and their number.

    Args:
      logits: scores before softmax.
      labels: 0 .. classes - 1, or `ignore`, also on padded rows.
      ignore: label of rows without a class; none of the classes.
    """
    labelled = labels != ignore  # (n,)
    log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32), axis=1)  # (n, classes)
    target = jax.nn.one_hot(labels, logits.shape[1])  # (n, classes); 0 where there is none
    losses = -jnp.sum(target * log_probabilities, axis=1)
    return Term(jnp.sum(jnp.where(labelled, losses, 0.0)), jnp.sum(labelled, dtype=jnp.float32))


def accuracy(logits: Float[Array, "n classes"], labels: Int32[Array, "n"], ignore: int) -> Term:
    """Number of labelled rows whose highest score is that of their class, and of labelled rows."""
    labelled = labels != ignore  # (n,)
    right = labelled & (jnp.argmax(logits, axis=1) == labels)
    return Term(jnp.sum(right, dtype=jnp.float32), jnp.sum(labelled, dtype=jnp.float32))
