"""Sparse convolution as Triton kernels: implicit GEMM over sorted tiles, and its gradients.

The input gradient of a convolution is a convolution with transposed weights over the map read
backwards; a submanifold map read backwards is itself with mirrored offsets. The weight gradient
runs over the lists of existing pairs.
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from fourdc_jax.kernels.implementation import compute_capability
from fourdc_jax.kernels.kernel_map.maps import ConvMap
from fourdc_jax.kernels.padding import zero_padding
from fourdc_jax.kernels.sparse_conv.moments import BlockMoments
from fourdc_jax.kernels.sparse_conv.tile_table import (
    Operation,
    Problem,
    Tile,
    choose_tile,
    log2_of_rows,
)
from fourdc_jax.kernels.sparse_conv.triton_gemm import implicit_gemm
from fourdc_jax.kernels.sparse_conv.triton_narrow import (
    NARROW_CHANNELS,
    narrow_conv,
    narrow_weight_gradient,
)
from fourdc_jax.kernels.sparse_conv.triton_weight_gradient import weight_gradient
from jaxtyping import Array, Float

# Without a GPU (in the interpreter) tiles are those of this architecture.
INTERPRETED_ARCHITECTURE = 90


class _Options(NamedTuple):
    with_moments: bool
    precision: str
    implementation: Literal["triton", "interpret"]


def convolve(
    features: Float[Array, "n c_in"],
    weights: Float[Array, "k c_in c_out"],
    bias: Float[Array, "c_out"] | None,
    conv_map: ConvMap,
    with_moments: bool,
    implementation: Literal["triton", "interpret"],
) -> tuple[Float[Array, "m c_out"], BlockMoments | None]:
    """The convolution of a map, and the moments of its result where they cost no further pass."""
    options = _Options(with_moments, _float32_precision(), implementation)
    return _convolve(features, weights, bias, conv_map, options)


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _convolve(
    features: Float[Array, "n c_in"],
    weights: Float[Array, "k c_in c_out"],
    bias: Float[Array, "c_out"] | None,
    conv_map: ConvMap,
    options: _Options,
) -> tuple[Float[Array, "m c_out"], BlockMoments | None]:
    weights = weights.astype(features.dtype)
    how = {"precision": options.precision, "implementation": options.implementation}
    how["bias"] = None if bias is None else bias.astype(jnp.float32)
    if _is_narrow(features, conv_map):
        tile = _tile("narrow_conv", features, weights.shape, conv_map.shape.outputs)
        return narrow_conv(features, weights, conv_map.rows, conv_map.num_rows, tile, **how), None
    tile = _tile("gemm", features, weights.shape, conv_map.shape.outputs)
    if bias is not None:
        tile = tile._replace(splits=1)
    with_moments = options.with_moments and tile.splits == 1
    out, moments = implicit_gemm(
        features, weights, conv_map.tiles, conv_map.num_rows, conv_map.shape.outputs, tile,
        with_moments=with_moments, **how,
    )  # fmt: skip
    if moments is None:
        return out, None
    first = jnp.arange(len(moments[0]), dtype=jnp.int32)[:, None] * tile.rows
    num_rows = jnp.minimum(conv_map.num_rows, conv_map.shape.outputs)
    counts = jnp.clip(num_rows - first, 0, tile.rows).astype(jnp.float32)
    return out, BlockMoments(counts, *moments)


def _convolve_forward(features, weights, bias, conv_map, options):
    residuals = (features, weights, bias, conv_map)
    return _convolve(features, weights, bias, conv_map, options), residuals


def _convolve_backward(options, residuals, cotangents):
    features, weights, bias, conv_map = residuals
    grad, _ = cotangents  # moments are statistics: no gradient goes through them
    how = {"precision": options.precision, "implementation": options.implementation}
    n, (volume, c_in, c_out) = features.shape[0], weights.shape
    tile = _tile("gemm", grad, (volume, c_out, c_in), n)
    grad_features, _ = implicit_gemm(
        grad, weights.astype(grad.dtype), conv_map.input_tiles, conv_map.num_input_rows, n, tile,
        transposed=True, mirrored=conv_map.mirrored, **how,
    )  # fmt: skip
    num_rows = conv_map.num_rows
    if _is_narrow(features, conv_map):
        tile = _tile("narrow_weight_gradient", features, weights.shape, grad.shape[0])
        grad_weights = narrow_weight_gradient(features, grad, conv_map.rows, num_rows, tile, **how)
    else:
        tile = _tile("weight_gradient", features, weights.shape, grad.shape[0])
        grad_weights = weight_gradient(
            features, grad, conv_map.pairs, num_rows, volume, tile, **how
        )
    grad_bias = None
    if bias is not None:
        total = jnp.sum(zero_padding(grad, num_rows).astype(jnp.float32), axis=0)
        grad_bias = total.astype(bias.dtype)
    return grad_features, grad_weights.astype(weights.dtype), grad_bias, None


_convolve.defvjp(_convolve_forward, _convolve_backward)


def _is_narrow(features: Float[Array, "n c_in"], conv_map: ConvMap) -> bool:
    return conv_map.rows is not None and features.shape[1] <= NARROW_CHANNELS


def _tile(operation: Operation, features: Array, weights_shape: tuple[int, ...], rows: int) -> Tile:
    architecture = compute_capability() or INTERPRETED_ARCHITECTURE
    shape = (*weights_shape, log2_of_rows(rows))
    return choose_tile(Problem(operation, architecture, features.dtype.name, *shape))


def _float32_precision() -> str:
    """How float32 products are formed: exactly, unless `jax.default_matmul_precision` asks less."""
    asked = jax.config.jax_default_matmul_precision
    if asked in ("tensorfloat32", "fastest", "bfloat16", "default"):
        return "tf32"
    return "tf32x3" if asked in ("high", "bfloat16_3x") else "ieee"
