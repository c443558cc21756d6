"""Flax layers of sparse networks: convolutions on a pyramid's maps.

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
    """Submanifold convolution: every row reads its neighbours of the same level. No bias."""

    features: int
    execution: Execution = Execution()

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n c_in"],
        kernel_map: kernels.KernelMap,
        *,
        with_moments: bool = False,
    ) -> ConvResult:
        shape = (kernel_map.rows.shape[0], x.shape[-1], self.features)  # (k, c_in, c_out)
        kernel = self.param("kernel", minkowski_uniform(shape[0] * shape[1]), shape, jnp.float32)
        implementation = self.execution.implementation
        return kernels.sparse_conv(
            x, kernel, kernel_map, with_moments=with_moments, implementation=implementation
        )


class StridedConv(nn.Module):
    """Convolution to the next coarser level, kernel size = stride. No bias."""

    features: int
    kernel_volume: int
    execution: Execution = Execution()

    @nn.compact
    def __call__(
        self, x: Float[Array, "fine c_in"], down: kernels.Downsample, *, with_moments: bool = False
    ) -> ConvResult:
        shape = (self.kernel_volume, x.shape[-1], self.features)  # (k, c_in, c_out)
        kernel = self.param("kernel", minkowski_uniform(shape[0] * shape[1]), shape, jnp.float32)
        implementation = self.execution.implementation
        return kernels.strided_conv(
            x, kernel, down, with_moments=with_moments, implementation=implementation
        )


class TransposedConv(nn.Module):
    """Convolution back to the next finer level's coordinates, kernel size = stride. No bias."""

    features: int
    kernel_volume: int
    execution: Execution = Execution()

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "coarse c_in"],
        down: kernels.Downsample,
        *,
        with_moments: bool = False,
    ) -> ConvResult:
        shape = (self.kernel_volume, x.shape[-1], self.features)  # (k, c_in, c_out)
        kernel = self.param("kernel", minkowski_uniform(shape[0] * shape[2]), shape, jnp.float32)
        implementation = self.execution.implementation
        return kernels.transposed_conv(
            x, kernel, down, with_moments=with_moments, implementation=implementation
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
    conv: SparseConv | StridedConv | TransposedConv,
    norm: MaskedBatchNorm,
    x: Float[Array, "n c_in"],
    sparse_map: kernels.KernelMap | kernels.Downsample,
    num_rows: Int32[Array, ""],
    *,
    train: bool,
) -> Float[Array, "m c_out"]:
    """norm(conv(x)); in training the norm has its moments from the convolution, which saves a pass.

    Args:
      sparse_map: what the convolution reads.
      num_rows: of the result.
    """
    if not train:
        return norm(conv(x, sparse_map), num_rows, train=False)
    y, moments = conv(x, sparse_map, with_moments=True)
    return norm(y, num_rows, train=True, moments=moments)
