"""The U-Net that all tasks share: its parameters, how it is made of them, and its levels."""

from dataclasses import dataclass

from flax import linen as nn
from jaxtyping import Array, Float

from fourdc_jax.models.architectures import BlockType, find_architecture
from fourdc_jax.models.unet import SparseUNet
from fourdc_jax.sparse.execution import Execution
from fourdc_jax.sparse.pyramid import KernelType, Pyramid

NUM_LEVELS = 5
ONE_DEVICE = Execution()
STRIDE_3D = (2, 2, 2)  # from each level to the next
CONVOLUTIONS = {"basic": 2, "bottleneck": 1}  # of size 3 in a residual block


@dataclass(frozen=True)
class NetworkParams:
    """One U-Net: by name, or with `architecture` empty by its planes, layers and block.

    The rest is explained at `SparseUNet`.
    """

    architecture: str
    planes: tuple[int, ...]
    layers: tuple[int, ...]
    block: BlockType
    stem_channels: int
    stem_kernel_size: tuple[int, ...]
    kernel_type: KernelType
    batch_norm_momentum: float
    block_batch_norm_momentum: float


class Backbone(nn.Module):
    """The U-Net without its final layer, in the place that pre-training has it: "unet"."""

    unet: SparseUNet

    @nn.compact
    def __call__(
        self, features: Float[Array, "n c_in"], pyramid: Pyramid, *, train: bool
    ) -> Float[Array, "n c"]:
        return self.unet(features, pyramid, train=train)


def stride_4d(stride_time: bool) -> tuple[int, ...]:
    """From each level to the next of a network over sequences, which may keep every frame."""
    return (2, 2, 2, 2 if stride_time else 1)


def level_strides(stride: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Strides along each axis of a U-Net's levels after the first, where levels stride so much."""
    return tuple(tuple(step**level for step in stride) for level in range(1, NUM_LEVELS))


def make_unet(
    network: NetworkParams, stride: tuple[int, ...], execution: Execution = ONE_DEVICE
) -> SparseUNet:
    """The U-Net of one network, without a final layer: the task's own head takes its place.

    Args:
      stride: from each level to the next, for each axis; so many axes has the network.
    """
    dimension = len(stride)
    block, planes, layers = network.block, network.planes, network.layers
    if network.architecture:
        if planes or layers:
            raise ValueError(
                f"the {dimension}D network is given by the name {network.architecture!r} and by "
                f"planes {planes} and layers {layers}: leave one of them empty."
            )
        block, planes, layers = find_architecture(network.architecture)
    if len(planes) != 8 or len(layers) != 8:
        raise ValueError(
            f"the {dimension}D network has {len(planes)} planes and {len(layers)} layers: give one "
            "of each for its 8 stages, or the name of an architecture."
        )
    if len(network.stem_kernel_size) != dimension:
        raise ValueError(
            f"stem_kernel_size {network.stem_kernel_size} of the {dimension}D network needs one "
            f"entry for each of its {dimension} axes."
        )
    return SparseUNet(
        dimension=dimension,
        planes=planes,
        layers=layers,
        out_channels=None,
        block=block,
        stem_channels=network.stem_channels,
        stem_kernel_size=network.stem_kernel_size,
        kernel_type=network.kernel_type,
        stride=stride,
        batch_norm_momentum=network.batch_norm_momentum,
        block_batch_norm_momentum=network.block_batch_norm_momentum,
        execution=execution,
    )


def receptive_radius(unet: SparseUNet) -> int:
    """Voxels along an axis beyond which nothing changes a row's features in evaluation.

    The sum of the steps that every layer reads away, from the finest level down and up again. A
    part of a scene with this margin around it gives what the whole scene gives.
    """
    stem = unet.stem_kernel_size
    radius = max(stem if isinstance(stem, tuple) else (stem,)) // 2
    levels = (1, 2, 3, 4, 3, 2, 1, 0)  # of the eight stages
    for stage, level in enumerate(levels):
        stride = 2**level
        radius += stride // 2 if stage < 4 else stride  # the layer that changes the level
        radius += unet.layers[stage] * CONVOLUTIONS[unet.block] * stride
    return radius
