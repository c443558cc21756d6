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

import jax.numpy as jnp
from fourdc_jax.kernels.implementation import Implementation, resolve
from fourdc_jax.kernels.kernel_map.maps import Downsample, KernelMap, Tiles
from fourdc_jax.kernels.padding import zero_padding
from fourdc_jax.kernels.sparse_conv import xla
from fourdc_jax.kernels.sparse_conv.moments import BlockMoments
from jaxtyping import Array, Float

Result = Float[Array, "m c_out"] | tuple[Float[Array, "m c_out"], BlockMoments | None]


def sparse_conv(
    features: Float[Array, "n c_in"],
    weights: Float[Array, "k c_in c_out"],
    kmap: KernelMap,
    *,
    bias: Float[Array, "c_bias"] | None = None,
    with_moments: bool = False,
    implementation: Implementation = "auto",
) -> Result:
    """Submanifold convolution: output rows are the input's rows.

    Args:
      features: [n, c_in]; padded rows must be 0.
      weights: [k, c_in, c_out], offsets in the order of `kernel_offsets`.
      kmap: `build_kernel_map(...)` over the same n rows and with k offsets.

    Raises:
      ValueError: shapes that do not fit the map, an implementation that is not available, or a map
        that was built for another one.
    """
    _check(features, weights, bias, kmap.rows.shape[0], kmap.rows.shape[1], "the kernel map")
    resolved = resolve(implementation)
    if resolved == "xla":
        out = xla.sparse_conv(features, weights, kmap)
        return _finish(out, bias, kmap.num_rows, with_moments)
    from fourdc_jax.kernels.sparse_conv import triton

    _check_tiles(kmap.tiles, resolved)
    out, moments = triton.sparse_conv(features, weights, kmap, bias, with_moments, resolved)
    return (out, moments) if with_moments else out


def strided_conv(
    features: Float[Array, "n c_in"],
    weights: Float[Array, "k c_in c_out"],
    down: Downsample,
    *,
    bias: Float[Array, "c_bias"] | None = None,
    with_moments: bool = False,
    implementation: Implementation = "auto",
) -> Result:
    """Strided convolution with kernel = stride: fine rows -> coarse rows [capacity, c_out].

    Args:
      features: [n, c_in] of the fine level; padded rows must be 0.
      weights: [k, c_in, c_out], k = product of the strides.
      down: `downsample(...)` of the fine level.

    Raises:
      ValueError: as for `sparse_conv`.
    """
    _check(features, weights, bias, down.children.shape[0], down.parents.shape[0], "the fine level")
    resolved = resolve(implementation)
    if resolved == "xla":
        out = xla.strided_conv(features, weights, down)
        return _finish(out, bias, down.num_rows, with_moments)
    from fourdc_jax.kernels.sparse_conv import triton

    _check_tiles(down.tiles, resolved)
    out, moments = triton.strided_conv(features, weights, down, bias, with_moments, resolved)
    return (out, moments) if with_moments else out


def transposed_conv(
    features: Float[Array, "capacity c_in"],
    weights: Float[Array, "k c_in c_out"],
    down: Downsample,
    *,
    bias: Float[Array, "c_bias"] | None = None,
    with_moments: bool = False,
    implementation: Implementation = "auto",
) -> Result:
    """Transposed convolution with kernel = stride: coarse rows -> the finer level's rows.

    Args:
      features: [capacity, c_in] of the coarse level; padded rows must be 0.
      weights: [k, c_in, c_out], k = product of the strides.
      down: `downsample(...)` that made the coarse level.

    Raises:
      ValueError: as for `sparse_conv`.
    """
    _check(features, weights, bias, *down.children.shape, "the coarse level")
    resolved = resolve(implementation)
    if resolved == "xla":
        out = xla.transposed_conv(features, weights, down)
        return _finish(out, bias, down.num_fine_rows, with_moments)
    from fourdc_jax.kernels.sparse_conv import triton

    _check_tiles(down.transposed_tiles, resolved)
    out, moments = triton.transposed_conv(features, weights, down, bias, with_moments, resolved)
    return (out, moments) if with_moments else out


def _finish(out: Array, bias: Array | None, num_rows: Array, with_moments: bool) -> Result:
    """What the XLA implementation leaves to XLA's fusion."""
    if bias is not None:
        out = zero_padding(out + bias.astype(out.dtype), num_rows)
    return (out, None) if with_moments else out


def _check_tiles(tiles: Tiles | None, implementation: str) -> None:
    if tiles is None:
        raise ValueError(
            f"implementation={implementation!r} reads more of a map than was built: build the map "
            f"with implementation={implementation!r} too."
        )


def _check(
    features: Array, weights: Array, bias: Array | None, volume: int, rows: int, level: str
) -> None:
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
    if bias is not None and bias.shape != weights.shape[2:]:
        raise ValueError(
            f"bias {bias.shape} must have one entry for each of {weights.shape[2]} channels."
        )
