"""Batch normalisation over the valid rows of all devices."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float, Float32, Int32

from fourdc_jax import kernels
from fourdc_jax.sparse.execution import Execution

# Rows that share one shift while moments are accumulated. Short enough that XLA:CPU keeps the
# accumulators in registers, which makes one pass of the two moments 2.5 times as fast as jnp.sum.
BLOCK_ROWS = 128


class Moments(NamedTuple):
    """Number of rows, mean and biased variance of each channel, all float32."""

    count: Float32[Array, ""]
    mean: Float32[Array, "c"]
    variance: Float32[Array, "c"]


class MaskedBatchNorm(nn.Module):
    """Batch normalisation whose statistics cover exactly the valid rows of all devices.

    Padded rows come out as 0. Running statistics follow torch.nn.BatchNorm1d:
    running = (1 - momentum) * running + momentum * batch, with the unbiased variance; they stay
    as they are where a batch does not define them (no row for the mean, one row for the variance).
    Without `affine` there is neither scale nor bias. Statistics are float32 for every input dtype.
    In training, `moments` of x that are known already save a pass over it.
    """

    momentum: float
    epsilon: float = 1e-5
    affine: bool = True
    execution: Execution = Execution()

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n c"],
        num_rows: Int32[Array, ""],
        *,
        train: bool,
        moments: kernels.BlockMoments | None = None,
    ) -> Float[Array, "n c"]:
        shape = (x.shape[-1],)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        scale, bias = jnp.ones(shape, jnp.float32), jnp.zeros(shape, jnp.float32)
        if self.affine:
            scale = self.param("scale", nn.initializers.ones, shape, jnp.float32)
            bias = self.param("bias", nn.initializers.zeros, shape, jnp.float32)

        if not train:
            std = jnp.sqrt(running_var.value + self.epsilon)
            return scale_and_shift(x, num_rows, running_mean.value, scale / std, bias)
        axis_name = self.execution.axis_name
        y, batch = batch_norm(x, scale, bias, num_rows, self.epsilon, axis_name, moments)
        if not self.is_initializing() and self.is_mutable_collection("batch_stats"):
            unbiased = batch.variance * batch.count / jnp.maximum(batch.count - 1, 1)
            rate_mean = jnp.where(batch.count > 0, self.momentum, 0.0)
            rate_var = jnp.where(batch.count > 1, self.momentum, 0.0)
            running_mean.value += rate_mean * (batch.mean - running_mean.value)
            running_var.value += rate_var * (unbiased - running_var.value)
        return y


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def batch_norm(
    x: Float[Array, "n c"],
    scale: Float32[Array, "c"],
    bias: Float32[Array, "c"],
    num_rows: Int32[Array, ""],
    epsilon: float,
    axis_name: str | None,
    moments: kernels.BlockMoments | None = None,
) -> tuple[Float[Array, "n c"], Moments]:
    """Normalises rows < num_rows with the statistics of all devices, and returns those statistics.

    The statistics carry no gradient; nor do `moments`, those of x where they are known already. The
    backward pass keeps only x and per-channel vectors, and returns this device's share of the
    gradients of scale and bias (their sum over `axis_name` is the gradient).
    """
    batch = merge_moments(block_moments(x, num_rows) if moments is None else moments, axis_name)
    factor = scale * lax.rsqrt(batch.variance + epsilon)
    return scale_and_shift(x, num_rows, batch.mean, factor, bias), batch


def _batch_norm_forward(x, scale, bias, num_rows, epsilon, axis_name, moments):
    y, batch = batch_norm(x, scale, bias, num_rows, epsilon, axis_name, moments)
    return (y, batch), (x, scale, num_rows, batch)


def _batch_norm_backward(epsilon, axis_name, residuals, cotangents):
    x, scale, num_rows, batch = residuals
    dy = kernels.zero_padding(cotangents[0].astype(jnp.float32), num_rows)  # (n, c)
    centred = x.astype(jnp.float32) - batch.mean
    inverse_std = lax.rsqrt(batch.variance + epsilon)

    dbias = jnp.sum(dy, axis=0)
    dscale = jnp.sum(dy * centred, axis=0) * inverse_std
    total_dbias, total_dscale = (dbias, dscale)
    if axis_name is not None:
        total_dbias, total_dscale = lax.psum((dbias, dscale), axis_name)
    count = jnp.maximum(batch.count, 1)
    # dx = scale / std * (dy - mean(dy) - normalised x * mean(dy * normalised x))
    slope = total_dscale * inverse_std / count
    dx = scale * inverse_std * (dy - total_dbias / count - centred * slope)
    return kernels.zero_padding(dx, num_rows).astype(x.dtype), dscale, dbias, None, None


batch_norm.defvjp(_batch_norm_forward, _batch_norm_backward)


def scale_and_shift(
    x: Float[Array, "n c"],
    num_rows: Int32[Array, ""],
    mean: Float32[Array, "c"],
    factor: Float32[Array, "c"],
    bias: Float32[Array, "c"],
) -> Float[Array, "n c"]:
    """(x - mean) * factor + bias in float32 on valid rows, 0 on padded ones; the dtype of x."""
    y = (x.astype(jnp.float32) - mean) * factor + bias
    return kernels.zero_padding(y, num_rows).astype(x.dtype)


def block_moments(x: Float[Array, "n c"], num_rows: Int32[Array, ""]) -> kernels.BlockMoments:
    """Moments of blocks of 128 rows, over rows < num_rows, in one pass over x.

    A block accumulates sum and square sum relative to its own first row.
    """
    whole = x.shape[0] // BLOCK_ROWS * BLOCK_ROWS
    blocks = x[:whole].reshape(-1, BLOCK_ROWS, x.shape[1])  # (whole / 128, 128, c)
    parts = [_block_moments(blocks, num_rows)]
    if whole < x.shape[0]:
        parts.append(_block_moments(x[None, whole:], num_rows - whole))
    return kernels.BlockMoments(*(jnp.concatenate(part) for part in zip(*parts)))


def merge_moments(blocks: kernels.BlockMoments, axis_name: str | None) -> Moments:
    """Exact moments of all blocks of all devices of `axis_name`.

    Merged as in Chan, Golub and LeVeque (1983): no cancellation, however far the mean is from 0.
    No row at all gives mean and variance 0.
    """
    merged = _merge(blocks)
    if axis_name is not None:
        merged = _merge(kernels.BlockMoments(*lax.all_gather(merged, axis_name)))
    count, mean, square = merged
    return Moments(count[0], mean, square / jnp.maximum(count, 1))


def _merge(blocks: kernels.BlockMoments):
    """Number (1,), mean (c,) and centred square sum (c,) of the union of blocks."""
    counts, means, squares = blocks
    count = jnp.sum(counts, axis=0)
    shift = means[0]
    mean = shift + jnp.sum(counts * (means - shift), axis=0) / jnp.maximum(count, 1)
    return count, mean, jnp.sum(squares + counts * (means - mean) ** 2, axis=0)


def _block_moments(blocks: Float[Array, "g r c"], num_rows: Int32[Array, ""]):
    """Number of valid rows (g, 1), mean (g, c) and centred square sum (g, c) of every block."""
    groups, rows, _ = blocks.shape
    first_row = jnp.arange(groups, dtype=jnp.int32)[:, None] * rows  # (g, 1)
    valid = first_row + jnp.arange(rows, dtype=jnp.int32) < num_rows  # (g, r)
    values = blocks.astype(jnp.float32)
    shift = jnp.where(first_row < num_rows, values[:, 0], 0.0)  # (g, c)
    deviation = jnp.where(valid[:, :, None], values - shift[:, None], 0.0)
    zero = jnp.float32(0)
    total, square = lax.reduce(
        (deviation, deviation**2), (zero, zero), lambda a, b: (a[0] + b[0], a[1] + b[1]), (1,)
    )
    count = jnp.clip(num_rows - first_row, 0, rows).astype(jnp.float32)  # (g, 1)
    offset = total / jnp.maximum(count, 1)
    return count, shift + offset, jnp.maximum(square - total * offset, 0.0)
