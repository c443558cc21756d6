"""Weights of MinkowskiEngine's U-Nets (PointContrast, CSC, ...) as variables of `SparseUNet`.

Both store kernels as [k, c_in, c_out] with the offsets' x fastest, so most arrays only get another
name. The exception are the residual blocks of SpatioTemporalSegmentation's networks, which
PointContrast and CSC use: their "hybrid" kernel has the same 27 offsets in another order.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jaxtyping import Float32, Int, Shaped

from fourdc_jax.models.architectures import ARCHITECTURES
from fourdc_jax.models.unet import SparseUNet
from fourdc_jax.sparse.execution import Execution

BlockKernels = Literal["hybrid", "hypercube"]
Arrays = Mapping[str, Shaped[np.ndarray, "..."]]
STEM = "conv0p1s1.kernel"
TAPS = 27  # of the residual blocks' 3x3x3 kernel
LEAVES = {
    "kernel": "kernel",
    "bias": "bias",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
COUNTER = ".num_batches_tracked"  # of torch's batch norms; nothing here corresponds to it


class Conversion(NamedTuple):
    """What became of a checkpoint.

    Attributes:
      variables: {"params", "batch_stats"}, laid out as those of a pre-training run: the U-Net under
        "encoder_3d/unet" and its final layer as "encoder_3d/projection".
      network: the U-Net that the arrays describe, with its final layer.
      in_channels: of its features.
      loaded: paths in `variables`.
      left_over: names in the checkpoint that have no place in the network.
      missing: paths that the network has and the checkpoint does not fill.
    """

    variables: dict[str, dict]
    network: SparseUNet
    in_channels: int
    loaded: list[str]
    left_over: list[str]
    missing: list[str]


def convert(
    arrays: Arrays, *, block_kernels: BlockKernels, constant_input: bool = False
) -> Conversion:
    """Renames the arrays of a state dict and brings their kernels into our order.

    Args:
      arrays: a state dict; what stands before its layers' names ("module.", "backbone_net.net.") is
        found out.
      block_kernels: order of the residual blocks' offsets: "hybrid" in PointContrast, CSC and
        SpatioTemporalSegmentation, "hypercube" in MinkowskiEngine's own examples.
      constant_input: the network was trained on features that are 1 in every channel, as
        PointContrast's: adds up its input channels, which gives the same function of a single 1.

    Raises:
      ValueError: these are not the weights of such a U-Net in three dimensions.
    """
    prefix = find_prefix(arrays)
    own = {name[len(prefix) :]: a for name, a in arrays.items() if name.startswith(prefix)}
    network = find_network(own)
    if constant_input:
        own[STEM] = own[STEM].sum(axis=1, keepdims=True)
    in_channels = own[STEM].shape[1]

    modules = module_names(network)
    converted, used, missing = {}, set(), []
    for path, shape in variable_shapes(network, in_channels).items():
        _, *module, leaf = path.split("/")
        name = f"{modules['/'.join(module)]}.{LEAVES[leaf]}"
        place = re.sub("/", "/encoder_3d/unet/", path, count=1).replace("unet/final", "projection")
        if name in own:
            hybrid = block_kernels == "hybrid" and name.startswith("block")
            converted[place] = fit(prefix + name, own[name], shape, hybrid)
            used.add(prefix + name)
        else:
            missing.append(place)
    return Conversion(
        variables=traverse_util.unflatten_dict(converted, sep="/"),
        network=network,
        in_channels=in_channels,
        loaded=sorted(converted),
        left_over=sorted(n for n in arrays if n not in used and not n.endswith(COUNTER)),
        missing=sorted(missing),
    )


def find_prefix(arrays: Arrays) -> str:
    """What stands before the names of the U-Net's layers.

    Raises:
      ValueError: no layer has the name of a Res16UNet's first one, or several have.
    """
    stems = [name for name in arrays if f".{name}".endswith(f".{STEM}")]
    if len(stems) != 1:
        there = f"there are {stems}" if stems else f"it has {', '.join(list(arrays)[:5])}, ..."
        raise ValueError(
            f"not the weights of one Res16UNet or MinkUNet: one {STEM} is expected; {there}."
        )
    return stems[0].removesuffix(STEM)


def find_network(arrays: Arrays) -> SparseUNet:
    """The U-Net, with its final layer where there is one, that the shapes of its kernels describe.

    Raises:
      ValueError: a stage is missing, or a kernel is not one of three dimensions.
    """
    blocks = [re.fullmatch(r"block([1-8])\.(\d+)\.conv2\.kernel", name) for name in arrays]
    indices = [(int(block[1]), int(block[2])) for block in blocks if block]
    planes, layers = [], []
    for stage in range(1, 9):
        first = f"block{stage}.0.conv2.kernel"
        if first not in arrays:
            raise ValueError(f"not the weights of a whole U-Net: there is no {first}.")
        if arrays[first].ndim != 3 or len(arrays[first]) != TAPS:
            raise ValueError(
                f"{first} has shape {arrays[first].shape}: only networks in three dimensions can "
                f"be converted, whose blocks have kernels [{TAPS}, c_in, c_out]."
            )
        planes.append(arrays[first].shape[2])
        layers.append(1 + max(index for of, index in indices if of == stage))
    stem_kernel_size = round(len(arrays[STEM]) ** (1 / 3))
    if arrays[STEM].ndim != 3 or stem_kernel_size**3 != len(arrays[STEM]):
        raise ValueError(f"{STEM} has shape {arrays[STEM].shape}: [size^3, c_in, c_out] expected.")
    return SparseUNet(
        dimension=3,
        planes=tuple(planes),
        layers=tuple(layers),
        out_channels=arrays["final.kernel"].shape[-1] if "final.kernel" in arrays else None,
        block="bottleneck" if "block1.0.conv3.kernel" in arrays else "basic",
        stem_channels=arrays[STEM].shape[2],
        stem_kernel_size=stem_kernel_size,
        execution=Execution(implementation="xla"),
    )


def variable_shapes(network: SparseUNet, in_channels: int) -> dict[str, tuple[int, ...]]:
    """Path -> shape of all variables of a U-Net; nothing is computed."""

    def initialize() -> dict[str, dict]:
        pyramid = network.build_pyramid(jnp.zeros((1, 4), jnp.int32), jnp.int32(1), (1,) * 5)
        features = jnp.zeros((1, in_channels))
        return network.init(jax.random.key(0), features, pyramid, train=False)

    variables = traverse_util.flatten_dict(jax.eval_shape(initialize), sep="/")
    return {path: leaf.shape for path, leaf in variables.items()}


def module_names(network: SparseUNet) -> dict[str, str]:
    """Our layer -> MinkowskiEngine's; a batch norm there is a torch module "bn" inside its own."""
    names = {"stem_conv": "conv0p1s1", "stem_norm": "bn0.bn", "final": "final"}
    for level in range(1, 5):
        up, tensor_stride = level + 3, 2 ** (level - 1)
        names |= {
            f"down{level}_conv": f"conv{level}p{tensor_stride}s2",
            f"down{level}_norm": f"bn{level}.bn",
            f"up{up + 1}_conv": f"convtr{up}p{16 // tensor_stride}s2",
            f"up{up + 1}_norm": f"bntr{up}.bn",
        }
    for stage, count in enumerate(network.layers, 1):
        for index in range(count):
            ours, theirs = f"stage{stage}_block{index + 1}", f"block{stage}.{index}"
            for layer in (1, 2, 3):
                names[f"{ours}/conv{layer}"] = f"{theirs}.conv{layer}"
                names[f"{ours}/norm{layer}"] = f"{theirs}.norm{layer}.bn"
            names[f"{ours}/shortcut_conv"] = f"{theirs}.downsample.0"
            names[f"{ours}/shortcut_norm"] = f"{theirs}.downsample.1.bn"
    return names


def fit(
    name: str, array: Shaped[np.ndarray, "..."], shape: tuple[int, ...], hybrid: bool
) -> Float32[np.ndarray, "..."]:
    """One array in our shape and order; `hybrid` says that its 27 offsets, if any, are in hybrid's.

    Raises:
      ValueError: another shape.
    """
    if array.ndim == len(shape) + 1 and len(array) == 1:
        array = array[0]  # a bias is [1, c] there, and a 1x1x1 kernel may be [1, c_in, c_out]
    if array.shape != shape:
        raise ValueError(
            f"{name} has shape {list(array.shape)}; beside the other arrays it must be "
            f"{list(shape)}."
        )
    if hybrid and len(shape) == 3:
        array = array[np.lexsort(hybrid_offsets().T)]  # by z, then y, then x: x fastest
    return np.array(array, np.float32)


def hybrid_offsets() -> Int[np.ndarray, "27 3"]:
    """Offsets of MinkowskiEngine 0.4's spatially dense "hybrid" kernel, in its order.

    It starts with the centre and, axis by axis, appends the neighbours at -1 and +1 along this axis
    of every offset so far.
    """
    offsets = [(0, 0, 0)]
    for axis in range(3):
        offsets += [
            (*offset[:axis], step, *offset[axis + 1 :]) for offset in offsets for step in (-1, 1)
        ]
    return np.array(offsets)


def describe(conversion: Conversion) -> str:
    """The network in words: the names the field knows it by, stem, input and output."""
    unet = conversion.network
    same = (unet.block, unet.planes, unet.layers)
    names = [name for name, architecture in ARCHITECTURES.items() if architecture == same]
    name = " = ".join(names) or f"{unet.block} blocks, planes {unet.planes}, layers {unet.layers}"
    return (
        f"{name}, stem kernel {unet.stem_kernel_size}, input channels {conversion.in_channels}, "
        f"final channels {unet.out_channels or 'none'}"
    )


def describe_model(conversion: Conversion) -> dict[str, Any]:
    """What a fine-tuning compares its own network with, laid out as a pre-training's config."""
    unet = conversion.network
    network = {
        "architecture": "",
        "planes": unet.planes,
        "layers": unet.layers,
        "block": unet.block,
        "stem_channels": unet.stem_channels,
        "stem_kernel_size": (unet.stem_kernel_size,) * unet.dimension,
        "kernel_type": "hypercube",
        "batch_norm_momentum": unet.batch_norm_momentum,
        "block_batch_norm_momentum": unet.block_batch_norm_momentum,
    }
    return {"model": {"in_channels": conversion.in_channels, "network_3d": network}}
