"""Whether another run's U-Net can be this one's: told before anything compiles."""

import re
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from fourdc_jax.data.scenes.samples import VoxelParams
from fourdc_jax.models.backbone import STRIDE_3D, NetworkParams, make_unet
from fourdc_jax.params import read_params

STEM = "encoder_3d/unet/stem_conv/kernel"
# What two U-Nets must share for one to take the other's weights.
STRUCTURE = ("block", "planes", "layers", "stem_channels", "stem_kernel_size", "kernel_type")


def check_frozen(init: ConfigDict) -> None:
    """Raises ValueError where a backbone that is to stay as it is would be random.

    Args:
      init: `config.init`.
    """
    if not init.source:
        raise ValueError(
            "config.model.freeze_backbone keeps the backbone as it is, and without config.init "
            "that is random: name a pre-training run"
        )
    if leaves_stem(init):
        raise ValueError(
            "config.model.freeze_backbone keeps the backbone as it is, and config.init.new or "
            "init.skip leave its first layer random: take the run's own"
        )


def check_backbone(
    network: NetworkParams,
    voxels: VoxelParams,
    init: ConfigDict,
    there: Mapping[str, Any],
    source: str,
) -> None:
    """Compares the network of another run with this one.

    Args:
      network, voxels, init: of this run's config.
      there: the other run's config, plain.
      source: its name.

    Raises:
      ValueError: another network, or other input channels that `init` does not name.
    """
    check_structure(network, there, source)
    here_channels, there_channels = voxels.in_channels, count_channels(there)
    if here_channels != there_channels and not leaves_stem(init):
        raise ValueError(
            f"{source} was trained on {there_channels} input channels and "
            f"config.data.voxels.features {voxels.features!r} has {here_channels}: "
            f"choose the same, or --config.init.new='{(*init.new, STEM)}'"
        )


def leaves_stem(init: ConfigDict) -> bool:
    """Whether the first layer, which depends on the input channels, stays as initialised."""
    return any(re.fullmatch(pattern, STEM) for pattern in (*init.new, *init.skip))


def check_structure(network: NetworkParams, there: Mapping[str, Any], source: str) -> None:
    """Raises ValueError where the other run's U-Net has another structure."""
    key = "config.model.network_3d"
    if "network_3d" not in there.get("model", {}):
        raise ValueError(
            f"{source} is no run with a 3D network: its config has no model.network_3d"
        )
    other = read_params(NetworkParams, there["model"]["network_3d"], f"{source}: {key}")
    ours, theirs = (make_unet(values, STRIDE_3D) for values in (network, other))
    different = [
        f"{name} {getattr(theirs, name)} there and {getattr(ours, name)} here"
        for name in STRUCTURE
        if getattr(theirs, name) != getattr(ours, name)
    ]
    if different:
        raise ValueError(
            f"{source} holds another network, {'; '.join(different)}: set {key} as it was in that "
            "run"
        )


def count_channels(config: Mapping[str, Any]) -> int:
    """Input channels of a pre-training run, or of another fine-tuning run."""
    if "in_channels" in config["model"]:
        return config["model"]["in_channels"]
    return {"constant": 1, "color": 3}[config["data"]["voxels"]["features"]]
