"""Sparse convolutions over kernel maps, differentiable in features and weights.

All are cross-correlations with MinkowskiEngine's semantics over existing coordinates:
`out[u] = sum_k W_k x[u + offset_k * s]`. Accumulation is float32; the result has the features'
dtype; padded rows of results and gradients are exactly 0.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels.implementation import Implementation, resolve
from kernels.kernel_map.maps import Downsample, KernelMap
from kernels.sparse_conv import xla


def sparse_conv(
    features: Float[Array, "n c_in"],
    weights: Float[Array, "k c_in c_out"],
    kmap: KernelMap,
    *,
    implementation: Implementation = "auto",
) -> Float[Array, "n c_out"]:
    """Submanifold convolution: output rows are the input's rows.

    Args:
      features: [n, c_in]; padded rows must be 0.
      weights: [k, c_in, c_out], offsets in the order of `kernel_offsets`; any float dtype.
      kmap: `build_kernel_map(...)` over the same n rows and with k offsets.

    Raises:
      ValueError: shapes that do not fit the map, or an implementation that is not available.
    """
    _check(features, weights, kmap.rows.shape[0], kmap.rows.shape[1], "the kernel map")
    resolve(implementation)
    return xla.sparse_conv(features, weights.astype(features.dtype), kmap)


def strided_conv(
    features: Float[Array, "n c_in"],
    weights: Float[Array, "k c_in c_out"],
    down: Downsample,
    *,
    implementation: Implementation = "auto",
) -> Float[Array, "capacity c_out"]:
    """Strided convolution with kernel = stride: fine rows -> coarse rows.

    Args:
      features: [n, c_in] of the fine level; padded rows must be 0.
      weights: [k, c_in, c_out], k = product of the strides.
      down: `downsample(...)` of the fine level.

    Raises:
      ValueError: shapes that do not fit the map, or an implementation that is not available.
    """
    _check(features, weights, down.children.shape[0], down.parents.shape[0], "the fine level")
    resolve(implementation)
    return xla.strided_conv(features, weights.astype(features.dtype), down)


def transposed_conv(
    features: Float[Array, "capacity c_in"],
    weights: Float[Array, "k c_in c_out"],
    down: Downsample,
    *,
    implementation: Implementation = "auto",
) -> Float[Array, "n c_out"]:
    """Transposed convolution with kernel = stride: coarse rows -> the finer level's own rows.

    Args:
      features: [capacity, c_in] of the coarse level; padded rows must be 0.
      weights: [k, c_in, c_out], k = product of the strides.
      down: `downsample(...)` that made the coarse level.

    Raises:
      ValueError: shapes that do not fit the map, or an implementation that is not available.
    """
    _check(features, weights, *down.children.shape, "the coarse level")
    resolve(implementation)
    return xla.transposed_conv(features, weights.astype(features.dtype), down)


def _check(features: Array, weights: Array, volume: int, rows: int, level: str) -> None:
    if features.ndim != 2 or weights.ndim != 3 or features.shape[1] != weights.shape[1]:
        raise ValueError(
            f"features [n, c_in] {tuple(features.shape)} and weights [k, c_in, c_out] "
            f"{tuple(weights.shape)} do not fit together."
        )
    if weights.shape[0] != volume:
        raise ValueError(
            f"weights have {weights.shape[0]} kernel offsets, the map has {volume}: build the map "
            "with the layer's kernel size, kernel type and stride."
        )
    if features.shape[0] != rows:
        raise ValueError(f"features have {features.shape[0]} rows, {level} has {rows}.")
    if not jnp.issubdtype(features.dtype, jnp.floating):
        raise ValueError(f"features must be a float dtype, got {features.dtype}.")
