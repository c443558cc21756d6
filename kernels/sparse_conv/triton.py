"""Sparse convolutions as Triton kernels: implicit GEMM over sorted tiles, and its gradients.

The input gradient of a convolution is a convolution with transposed weights over the map read
backwards; a submanifold map read backwards is itself with mirrored offsets. The weight gradient
runs over the lists of existing pairs.
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from fourdc_jax.kernels.implementation import compute_capability
from fourdc_jax.kernels.kernel_map.maps import Downsample, KernelMap, PairLists, Tiles
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
from jaxtyping import Array, Float, Int32

# Without a GPU (in the interpreter) tiles are those of this architecture.
INTERPRETED_ARCHITECTURE = 90


class _Maps(NamedTuple):
    """What one convolution and its gradients read.

    Attributes:
      tiles, num_rows: of the outputs.
      backward_tiles, backward_num_rows: of the inputs, for the input gradient.
      pairs: (input, output), for the weight gradient.
      rows: int32 [k, n] of a submanifold map, for convolutions of few channels; else None.
    """

    tiles: Tiles
    num_rows: Int32[Array, ""]
    backward_tiles: Tiles
    backward_num_rows: Int32[Array, ""]
    pairs: PairLists
    rows: Int32[Array, "k n"] | None


class _Options(NamedTuple):
    num_outputs: int
    mirrored: bool
    with_moments: bool
    precision: str
    implementation: Literal["triton", "interpret"]


def sparse_conv(
    features: Float[Array, "n c_in"],
    weights: Float[Array, "k c_in c_out"],
    kmap: KernelMap,
    bias: Float[Array, "c_out"] | None,
    with_moments: bool,
    implementation: Literal["triton", "interpret"],
) -> tuple[Float[Array, "n c_out"], BlockMoments | None]:
    """Submanifold convolution and the moments of its result, where they cost no further pass."""
    maps = _Maps(kmap.tiles, kmap.num_rows, kmap.tiles, kmap.num_rows, kmap.pairs, kmap.rows)
    precision = _float32_precision()
    options = _Options(features.shape[0], True, with_moments, precision, implementation)
    return _convolve(features, weights, bias, maps, options)


def strided_conv(
    features: Float[Array, "n c_in"],
    weights: Float[Array, "k c_in c_out"],
    down: Downsample,
    bias: Float[Array, "c_out"] | None,
    with_moments: bool,
    implementation: Literal["triton", "interpret"],
) -> tuple[Float[Array, "capacity c_out"], BlockMoments | None]:
    """Fine -> coarse."""
    maps = _Maps(
        down.tiles, down.num_rows, down.transposed_tiles, down.num_fine_rows, down.pairs, None
    )
    num_outputs = down.children.shape[1]
    options = _Options(num_outputs, False, with_moments, _float32_precision(), implementation)
    return _convolve(features, weights, bias, maps, options)


def transposed_conv(
    features: Float[Array, "capacity c_in"],
    weights: Float[Array, "k c_in c_out"],
    down: Downsample,
    bias: Float[Array, "c_out"] | None,
    with_moments: bool,
    implementation: Literal["triton", "interpret"],
) -> tuple[Float[Array, "n c_out"], BlockMoments | None]:
    """Coarse -> fine."""
    maps = _Maps(
        down.transposed_tiles, down.num_fine_rows, down.tiles, down.num_rows,
        down.pairs.exchanged(), None,
    )  # fmt: skip
    num_outputs = down.parents.shape[0]
    options = _Options(num_outputs, False, with_moments, _float32_precision(), implementation)
    return _convolve(features, weights, bias, maps, options)


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _convolve(
    features: Float[Array, "n c_in"],
    weights: Float[Array, "k c_in c_out"],
    bias: Float[Array, "c_out"] | None,
    maps: _Maps,
    options: _Options,
) -> tuple[Float[Array, "m c_out"], BlockMoments | None]:
    weights = weights.astype(features.dtype)
    how = {"precision": options.precision, "implementation": options.implementation}
    how["bias"] = None if bias is None else bias.astype(jnp.float32)
    if _is_narrow(features, maps):
        tile = _tile("narrow_conv", features, weights.shape, options.num_outputs)
        return narrow_conv(features, weights, maps.rows, maps.num_rows, tile, **how), None
    tile = _tile("gemm", features, weights.shape, options.num_outputs)
    if bias is not None:
        tile = tile._replace(splits=1)
    with_moments = options.with_moments and tile.splits == 1
    out, moments = implicit_gemm(
        features, weights, maps.tiles, maps.num_rows, options.num_outputs, tile,
        with_moments=with_moments, **how,
    )  # fmt: skip
    if moments is None:
        return out, None
    first = jnp.arange(len(moments[0]), dtype=jnp.int32)[:, None] * tile.rows
    num_rows = jnp.minimum(maps.num_rows, options.num_outputs)
    counts = jnp.clip(num_rows - first, 0, tile.rows).astype(jnp.float32)
    return out, BlockMoments(counts, *moments)


def _convolve_forward(features, weights, bias, maps, options):
    return _convolve(features, weights, bias, maps, options), (features, weights, bias, maps)


def _convolve_backward(options, residuals, cotangents):
    features, weights, bias, maps = residuals
    grad, _ = cotangents  # moments are statistics: no gradient goes through them
    how = {"precision": options.precision, "implementation": options.implementation}
    n, (volume, c_in, c_out) = features.shape[0], weights.shape
    tile = _tile("gemm", grad, (volume, c_out, c_in), n)
    grad_features, _ = implicit_gemm(
        grad, weights.astype(grad.dtype), maps.backward_tiles, maps.backward_num_rows, n, tile,
        transposed=True, mirrored=options.mirrored, **how,
    )  # fmt: skip
    if _is_narrow(features, maps):
        tile = _tile("narrow_weight_gradient", features, weights.shape, grad.shape[0])
        grad_weights = narrow_weight_gradient(features, grad, maps.rows, maps.num_rows, tile, **how)
    else:
        tile = _tile("weight_gradient", features, weights.shape, grad.shape[0])
        grad_weights = weight_gradient(
            features, grad, maps.pairs, maps.num_rows, volume, tile, **how
        )
    grad_bias = None
    if bias is not None:
        total = jnp.sum(zero_padding(grad, maps.num_rows).astype(jnp.float32), axis=0)
        grad_bias = total.astype(bias.dtype)
    return grad_features, grad_weights.astype(weights.dtype), grad_bias, None


_convolve.defvjp(_convolve_forward, _convolve_backward)


def _is_narrow(features: Float[Array, "n c_in"], maps: _Maps) -> bool:
    return maps.rows is not None and features.shape[1] <= NARROW_CHANNELS


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
