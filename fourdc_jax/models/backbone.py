"""The U-Net that all tasks share: its parameters, and how it is made of them."""

from dataclasses import dataclass

from fourdc_jax.models.architectures import BlockType, find_architecture
from fourdc_jax.models.unet import SparseUNet
from fourdc_jax.sparse.pyramid import Implementation, KernelType


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


def make_unet(
    network: NetworkParams,
    dtype: str,
    remat: bool,
    stride: tuple[int, ...],
    axis_name: str | None,
    implementation: Implementation,
) -> SparseUNet:
    """The U-Net of one network, without a final layer: the task's own head takes its place."""
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
        dtype=dtype,
        remat=remat,
        axis_name=axis_name,
        implementation=implementation,
    )
