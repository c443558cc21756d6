"""The sparse residual U-Net (MinkUNet, Res16UNet) in any dimension."""

from collections.abc import Callable, Sequence
from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int32

from fourdc_jax.models.architectures import BlockType, find_architecture
from fourdc_jax.sparse.batch_norm import MaskedBatchNorm
from fourdc_jax.sparse.execution import Execution
from fourdc_jax.sparse.layers import Pointwise, SparseConv, convolve_and_normalize
from fourdc_jax.sparse.pyramid import KernelType, Level, Pyramid, build_pyramid

Norm = Callable[..., MaskedBatchNorm]
BOTTLENECK_EXPANSION = 4


class BasicBlock(nn.Module):
    """Two 3^d convolutions and a shortcut, activated after the addition."""

    planes: int
    norm: Norm
    shortcut_norm: Norm
    execution: Execution

    @nn.compact
    def __call__(
        self, x: Float[Array, "n c_in"], level: Level, train: bool
    ) -> Float[Array, "n c_out"]:
        rows, conv_map = level.num_rows, level.kernel_map.submanifold

        def convolve(y, index):
            conv = SparseConv(self.planes, self.execution, name=f"conv{index}")
            norm = self.norm(name=f"norm{index}")
            return convolve_and_normalize(conv, norm, y, conv_map, train=train)

        y = convolve(nn.relu(convolve(x, 1)), 2)
        if x.shape[-1] != self.planes:
            x = Pointwise(self.planes, name="shortcut_conv")(x, rows)
            x = self.shortcut_norm(name="shortcut_norm")(x, rows, train=train)
        return nn.relu(y + x)


class BottleneckBlock(nn.Module):
    """1x1x1, 3^d and 1x1x1 convolutions and a shortcut; puts out four times `planes` channels."""

    planes: int
    norm: Norm
    shortcut_norm: Norm
    execution: Execution

    @nn.compact
    def __call__(
        self, x: Float[Array, "n c_in"], level: Level, train: bool
    ) -> Float[Array, "n c_out"]:
        features = self.planes * BOTTLENECK_EXPANSION
        rows, conv_map = level.num_rows, level.kernel_map.submanifold
        y = Pointwise(self.planes, name="conv1")(x, rows)
        y = nn.relu(self.norm(name="norm1")(y, rows, train=train))
        conv = SparseConv(self.planes, self.execution, name="conv2")
        norm = self.norm(name="norm2")
        y = nn.relu(convolve_and_normalize(conv, norm, y, conv_map, train=train))
        y = Pointwise(features, name="conv3")(y, rows)
        y = self.norm(name="norm3")(y, rows, train=train)
        if x.shape[-1] != features:
            x = Pointwise(features, name="shortcut_conv")(x, rows)
            x = self.shortcut_norm(name="shortcut_norm")(x, rows, train=train)
        return nn.relu(y + x)


class SparseUNet(nn.Module):
    """Sparse residual U-Net over five tensor strides, for every dimension by one class.

    Stem, four times (strided convolution, residual stage), four times (transposed convolution,
    concatenation with the encoder's features, residual stage), and a final 1x1x1 layer with bias.

    Attributes:
      dimension: 3 for scans, 4 for sequences of scans.
      planes: width of the eight residual stages.
      layers: residual blocks of the eight stages.
      out_channels: of the final layer; None leaves it out and returns the last stage's features.
      block: "basic" or "bottleneck".
      stem_channels: of the first two convolutions.
      stem_kernel_size: of the first convolution, one size or one for each axis.
      kernel_type: of the residual blocks' 3^d kernel: "hypercube", "hypercross" or "hybrid".
      stride: from level to level, for each axis; None is 2 on all. (2, 2, 2, 1) keeps time.
      batch_norm_momentum: weight of the batch in running statistics: stem, down, up, shortcuts.
      block_batch_norm_momentum: likewise inside residual blocks. SpatioTemporalSegmentation,
        PointContrast and CSC leave 0.1 there, whatever their bn_momentum says.
      execution: how it runs.
    """

    dimension: int
    planes: Sequence[int]
    layers: Sequence[int]
    out_channels: int | None
    block: BlockType = "basic"
    stem_channels: int = 32
    stem_kernel_size: int | tuple[int, ...] = 3
    kernel_type: KernelType = "hypercube"
    stride: tuple[int, ...] | None = None
    batch_norm_momentum: float = 0.1
    block_batch_norm_momentum: float = 0.1
    execution: Execution = Execution()

    @classmethod
    def named(
        cls, name: str, *, dimension: int, out_channels: int | None, **options
    ) -> "SparseUNet":
        """The U-Net that the field knows by `name`, for example "Res16UNet34C" or "MinkUNet14"."""
        block, planes, layers = find_architecture(name)
        return cls(dimension, planes, layers, out_channels, block, **options)

    def build_pyramid(
        self,
        coords: Int32[Array, "n columns"],
        num_rows: Int32[Array, ""],
        capacities: Sequence[int],
    ) -> Pyramid:
        """The maps that this network needs; see `fourdc_jax.sparse.pyramid.build_pyramid`."""
        if len(capacities) != 5:
            raise ValueError(f"a U-Net needs the capacities of 5 levels, got {tuple(capacities)}.")
        return build_pyramid(
            coords,
            num_rows,
            capacities=capacities,
            stride=self._stride,
            kernel_type=self.kernel_type,
            stem_kernel_size=self.stem_kernel_size,
            implementation=self.execution.implementation,
        )

    @property
    def _stride(self) -> tuple[int, ...]:
        return (2,) * self.dimension if self.stride is None else tuple(self.stride)

    @nn.compact
    def __call__(
        self, features: Float[Array, "n c_in"], pyramid: Pyramid, *, train: bool
    ) -> Float[Array, "n c_out"]:
        norm = partial(MaskedBatchNorm, momentum=self.batch_norm_momentum, execution=self.execution)

        def convolve(x, planes, conv_map, name):
            """The layers `name`_conv and `name`_norm, and an activation."""
            conv = SparseConv(planes, self.execution, name=f"{name}_conv")
            y = convolve_and_normalize(conv, norm(name=f"{name}_norm"), x, conv_map, train=train)
            return nn.relu(y)

        x = features.astype(self.execution.dtype)
        x = convolve(x, self.stem_channels, pyramid.stem_map.submanifold, "stem")
        skips = []
        for level in range(1, 5):
            skips.append(x)
            down = pyramid.downsamples[level - 1]
            x = convolve(x, x.shape[-1], down.strided, f"down{level}")
            x = self._stage(x, level, pyramid.levels[level], norm, train)
        for stage, level in zip(range(5, 9), (3, 2, 1, 0)):
            down = pyramid.downsamples[level]
            x = convolve(x, self.planes[stage - 1], down.transposed, f"up{stage}")
            x = jnp.concatenate([x, skips.pop()], axis=1)
            x = self._stage(x, stage, pyramid.levels[level], norm, train)
        if self.out_channels is None:
            return x
        final = Pointwise(self.out_channels, use_bias=True, name="final")
        return final(x, pyramid.levels[0].num_rows)

    def _stage(self, x, stage: int, level: Level, norm: Norm, train: bool):
        """The residual blocks of stage 1 to 8."""
        block = BasicBlock if self.block == "basic" else BottleneckBlock
        if self.execution.remat:
            block = nn.remat(block, static_argnums=(3,))
        block_norm = partial(norm, momentum=self.block_batch_norm_momentum)
        for index in range(1, self.layers[stage - 1] + 1):
            x = block(
                self.planes[stage - 1],
                block_norm,
                norm,
                self.execution,
                name=f"stage{stage}_block{index}",
            )(x, level, train)
        return x
