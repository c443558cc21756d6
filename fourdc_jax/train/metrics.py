"""Means over devices and micro-batches: (sum, count) pairs, summed everywhere, divided once."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from fourdc_jax.train.task import Mean


def global_counts(means: Mapping[str, Mean], axis_name: str) -> dict[str, jax.Array]:
    """Counts over all devices, float32 and without gradient."""
    return {
        name: jax.lax.psum(jax.lax.stop_gradient(count).astype(jnp.float32), axis_name)
        for name, (_, count) in means.items()
    }


def local_shares(
    means: Mapping[str, Mean], counts: Mapping[str, jax.Array]
) -> dict[str, jax.Array]:
    """This device's part of every mean: the parts of all devices add up to it.

    A mean over nothing (count 0 on all devices) is 0 and passes no gradient.
    """
    return {
        name: jnp.where(counts[name] > 0, total, jnp.zeros_like(total)).astype(jnp.float32)
        / jnp.maximum(counts[name], 1.0)
        for name, (total, _) in means.items()
    }


def global_sums(means: Mapping[str, Mean], axis_name: str) -> dict[str, Mean]:
    """(sum, count) pairs over all devices."""
    return {
        name: jax.lax.psum((total.astype(jnp.float32), count.astype(jnp.float32)), axis_name)
        for name, (total, count) in means.items()
    }


def divide(means: Mapping[str, Mean]) -> dict[str, jax.Array]:
    """sum / count over a leading axis of micro-batches; NaN where nothing was counted."""
    return {name: total.sum() / count.sum() for name, (total, count) in means.items()}
