"""Flax layers of sparse networks: convolutions over a pyramid's maps.

Features enter and leave with padded rows 0. Parameters are float32 and are cast to the dtype of
the features, so that the dtype chosen at the network's entry is the compute dtype throughout;
accumulation is float32. Asked `with_moments`, a convolution returns a pair, as those of `kernels`.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int32

from fourdc_jax import kernels
from fourdc_jax.sparse.batch_norm import MaskedBatchNorm
from fourdc_jax.sparse.execution import Execution
from fourdc_jax.sparse.initializers import minkowski_uniform

ConvResult = Float[Array, "m c_out"] | tuple[Float[Array, "m c_out"], kernels.BlockMoments | None]


class SparseConv(nn.Module):
    """The convolution of a map, submanifold, strided or transposed. No bias."""

    features: int
    execution: Execution = Execution()

    @nn.compact
    def __call__(
        self, x: Float[Array, "n c_in"], conv_map: kernels.ConvMap, *, with_moments: bool = False
    ) -> ConvResult:
        """Args: conv_map: `kmap.submanifold`, `down.strided` or `down.transposed`."""
        shape = (conv_map.shape.volume, x.shape[-1], self.features)  # (k, c_in, c_out)
        fan = shape[0] * (shape[2] if conv_map.shape.kind == "transposed" else shape[1])
        kernel = self.param("kernel", minkowski_uniform(fan), shape, jnp.float32)
        implementation = self.execution.implementation
        return kernels.convolve(
            x, kernel, conv_map, with_moments=with_moments, implementation=implementation
        )


class Pointwise(nn.Module):
    """1x1x1 convolution: one matrix for every row, and optionally a bias on valid rows."""

    features: int
    use_bias: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "n c_in"], num_rows: Int32[Array, ""]
    ) -> Float[Array, "n c_out"]:
        shape = (x.shape[-1], self.features)  # (c_in, c_out)
        initializer = minkowski_uniform(shape[0])
        kernel = self.param("kernel", initializer, shape, jnp.float32).astype(x.dtype)
        y = jnp.dot(x, kernel, preferred_element_type=jnp.float32)  # (n, c_out)
        if self.use_bias:
            y = y + self.param("bias", initializer, (self.features,), jnp.float32)
            y = kernels.zero_padding(y, num_rows)
        return y.astype(x.dtype)


def convolve_and_normalize(
    conv: SparseConv,
    norm: MaskedBatchNorm,
    x: Float[Array, "n c_in"],
    conv_map: kernels.ConvMap,
    *,
    train: bool,
) -> Float[Array, "m c_out"]:
    """norm(conv(x)); in training the convolution gives the norm its moments, which saves a pass."""
    if not train:
        return norm(conv(x, conv_map), conv_map.num_rows, train=False)
    y, moments = conv(x, conv_map, with_moments=True)
    return norm(y, conv_map.num_rows, train=True, moments=moments)
