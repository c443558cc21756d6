"""Sparse convolutions over kernel maps, differentiable in features, weights and bias.

All are cross-correlations with MinkowskiEngine's semantics over existing coordinates:
`out[u] = sum_k W_k x[u + offset_k * s]`. Accumulation is float32; the result has the features'
dtype; padded rows of results and gradients are exactly 0. Weights of any float dtype are cast to
the features' dtype for the products, and their gradient comes back in their own.

Float32 products of the Triton kernels are exact, as on the CPU, unless less is asked for:
`jax.default_matmul_precision("tensorfloat32")` rounds their inputs to 10 bits of mantissa, "high"
forms them of three such products. `bias` [c_out] is added to the rows that hold data.

With `with_moments=True` a convolution returns a pair: the result, and the moments of its channels
over blocks of rows, for a batch normalisation; or None in their place where they would cost another
pass over the result. No gradient flows through moments.
"""

from typing import Any

import jax.numpy as jnp
from fourdc_jax.kernels.implementation import Implementation, resolve
from fourdc_jax.kernels.kernel_map.maps import (
    ConvMap,
    ConvShape,
    Downsample,
    KernelMap,
    PairLists,
    Tiles,
)
from fourdc_jax.kernels.padding import zero_padding
from fourdc_jax.kernels.sparse_conv import xla
from fourdc_jax.kernels.sparse_conv.moments import BlockMoments
from jaxtyping import Array, Float

Result = Float[Array, "m c_out"] | tuple[Float[Array, "m c_out"], BlockMoments | None]

INPUT_LEVEL = {  # what the input's rows are those of
    "submanifold": "the kernel map",
    "strided": "the fine level",
    "transposed": "the coarse level",
}


def convolve(
    features: Float[Array, "n c_in"],
    weights: Float[Array, "k c_in c_out"],
    conv_map: ConvMap,
    *,
    bias: Float[Array, "c_bias"] | None = None,
    with_moments: bool = False,
    implementation: Implementation = "auto",
) -> Result:
    """The convolution that the map describes, whichever of the three it is.

    Args:
      features: [n, c_in] of the map's input level; padded rows must be 0.
      weights: [k, c_in, c_out], offsets in the order of `kernel_offsets`.
      conv_map: `kmap.submanifold`, `down.strided` or `down.transposed`.
      bias: [c_out], added to the rows that hold data.
      with_moments: return a pair, the result and its moments.

    Raises:
      ValueError: shapes that do not fit the map, an implementation that is not available, or a map
        that was built for another one.
    """
    _check(features, weights, bias, conv_map.shape)
    resolved = resolve(implementation)
    if resolved == "xla":
        _check_built(conv_map.pairs, resolved)
        out, moments = xla.convolve(features, weights, conv_map), None
        if bias is not None:  # left to XLA's fusion; its gradient is summed in float32
            total = out.astype(jnp.float32) + bias.astype(jnp.float32)
            out = zero_padding(total, conv_map.num_rows).astype(out.dtype)
    elif resolved == "cpu":
        from fourdc_jax.kernels.sparse_conv import cpu

        _check_built(conv_map.input_rows, resolved)
        out, moments = cpu.convolve(features, weights, bias, conv_map, with_moments)
    else:
        from fourdc_jax.kernels.sparse_conv import triton

        _check_built(conv_map.tiles, resolved)
        out, moments = triton.convolve(features, weights, bias, conv_map, with_moments, resolved)
    return (out, moments) if with_moments else out


def sparse_conv(
    features: Float[Array, "n c_in"],
    weights: Float[Array, "k c_in c_out"],
    kmap: KernelMap,
    **options: Any,
) -> Result:
    """Submanifold convolution: output rows are the input's rows.

    Args:
      features: [n, c_in]; padded rows must be 0.
      weights: [k, c_in, c_out], offsets in the order of `kernel_offsets`.
      kmap: `build_kernel_map(...)` over the same n rows and with k offsets.
      options: `bias`, `with_moments` and `implementation`, as for `convolve`.
    """
    return convolve(features, weights, kmap.submanifold, **options)


def strided_conv(
    features: Float[Array, "n c_in"],
    weights: Float[Array, "k c_in c_out"],
    down: Downsample,
    **options: Any,
) -> Result:
    """Strided convolution with kernel = stride: fine rows -> coarse rows [capacity, c_out].

    Args:
      features: [n, c_in] of the fine level; padded rows must be 0.
      weights: [k, c_in, c_out], k = product of the strides.
      down: `downsample(...)` of the fine level.
      options: `bias`, `with_moments` and `implementation`, as for `convolve`.
    """
    return convolve(features, weights, down.strided, **options)


def transposed_conv(
    features: Float[Array, "capacity c_in"],
    weights: Float[Array, "k c_in c_out"],
    down: Downsample,
    **options: Any,
) -> Result:
    """Transposed convolution with kernel = stride: coarse rows -> the finer level's rows.

    Args:
      features: [capacity, c_in] of the coarse level; padded rows must be 0.
      weights: [k, c_in, c_out], k = product of the strides.
      down: `downsample(...)` that made the coarse level.
      options: `bias`, `with_moments` and `implementation`, as for `convolve`.
    """
    return convolve(features, weights, down.transposed, **options)


def _check_built(part: PairLists | Tiles | Array | None, implementation: str) -> None:
    if part is None:
        raise ValueError(
            f"implementation={implementation!r} reads more of a map than was built: build the map "
            f"with implementation={implementation!r} too."
        )


def _check(features: Array, weights: Array, bias: Array | None, shape: ConvShape) -> None:
    if features.ndim != 2 or weights.ndim != 3 or features.shape[1] != weights.shape[1]:
        raise ValueError(
            f"features [n, c_in] {tuple(features.shape)} and weights [k, c_in, c_out] "
            f"{tuple(weights.shape)} do not fit together."
        )
    if weights.shape[0] != shape.volume:
        raise ValueError(
            f"weights have {weights.shape[0]} kernel offsets, the map has {shape.volume}: build "
            "the map with the layer's kernel size, kernel type and stride."
        )
    if features.shape[0] != shape.inputs:
        level = INPUT_LEVEL[shape.kind]
        raise ValueError(f"features have {features.shape[0]} rows, {level} has {shape.inputs}.")
    if not jnp.issubdtype(features.dtype, jnp.floating):
        raise ValueError(f"features must be a float dtype, got {features.dtype}.")
    if bias is not None and bias.shape != weights.shape[2:]:
        raise ValueError(
            f"bias {bias.shape} must have one entry for each of {weights.shape[2]} channels."
        )
