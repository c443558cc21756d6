"""Sparse convolutions on the CPU in numba, and their gradients.

The kernels read a map's table of rows and compute in float32; features of another dtype are
converted on the way in and out. The input gradient of a convolution is a convolution with
transposed weights over the map read backwards; a submanifold map read backwards is itself with
mirrored offsets.
"""

from functools import partial

import jax
import jax.numpy as jnp
from fourdc_jax.kernels.kernel_map.maps import ConvMap
from fourdc_jax.kernels.padding import zero_padding
from fourdc_jax.kernels.sparse_conv import cpu_conv
from fourdc_jax.kernels.sparse_conv.cpu_weight_gradient import weight_gradient
from fourdc_jax.kernels.sparse_conv.moments import BlockMoments
from jaxtyping import Array, Float


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def convolve(
    features: Float[Array, "n c_in"],
    weights: Float[Array, "k c_in c_out"],
    bias: Float[Array, "c_out"] | None,
    conv_map: ConvMap,
    with_moments: bool,
) -> tuple[Float[Array, "m c_out"], BlockMoments | None]:
    """The convolution and, where they are asked for, the moments of its result."""
    out, moments = cpu_conv.convolve(
        features.astype(jnp.float32),
        weights.astype(features.dtype).astype(jnp.float32),
        conv_map.rows,
        conv_map.num_rows,
        bias=None if bias is None else bias.astype(jnp.float32),
        with_moments=with_moments,
    )
    return out.astype(features.dtype), moments


def _forward(features, weights, bias, conv_map, with_moments):
    result = convolve(features, weights, bias, conv_map, with_moments)
    return result, (features, weights, bias, conv_map)


def _backward(with_moments, residuals, cotangents):
    features, weights, bias, conv_map = residuals
    grad = cotangents[0].astype(jnp.float32)  # moments are statistics: no gradient goes through
    mirrored = conv_map.mirrored
    grad_features, _ = cpu_conv.convolve(
        grad,
        weights.astype(features.dtype).astype(jnp.float32),
        conv_map.input_rows,
        conv_map.num_input_rows,
        transposed=True,
        mirrored=mirrored,
    )
    grad_weights = weight_gradient(
        features.astype(jnp.float32), grad, conv_map.rows, conv_map.num_rows
    )
    grad_bias = None
    if bias is not None:
        grad_bias = jnp.sum(zero_padding(grad, conv_map.num_rows), axis=0).astype(bias.dtype)
    grad_features = grad_features.astype(features.dtype)
    return grad_features, grad_weights.astype(weights.dtype), grad_bias, None


convolve.defvjp(_forward, _backward)
