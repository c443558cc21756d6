"""Whether the run named by config.init can start a segmenter: told before anything compiles."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fourdc_jax.models.backbone import STRIDE_3D, NetworkParams, make_unet
from fourdc_jax.params import read_params
from fourdc_jax.sparse.execution import Execution
from fourdc_jax.tasks.segmentation.params import SegmentationParams
from fourdc_jax.train import run_config
from fourdc_jax.train.checkpoints import FOLDER

STEM = "encoder_3d/unet/stem_conv/kernel"
# What two U-Nets must share for one to take the other's weights.
STRUCTURE = ("block", "planes", "layers", "stem_channels", "stem_kernel_size", "kernel_type")


def check_source(params: SegmentationParams, config: ConfigDict) -> None:
    """Compares the network of `config.init` with this one.

    Raises:
      FileNotFoundError: there is no such run, or it has no config.json.
      ValueError: a linear probe without a run to probe or of a random first layer, another network,
        or other input channels.
    """
    named = any(re.fullmatch(p, STEM) for p in (*config.init.new, *config.init.skip))
    if params.model.freeze_backbone and named:
        raise ValueError(
            "config.model.freeze_backbone keeps the backbone as it is, and config.init.new or "
            "init.skip leave its first layer random: take the run's own"
        )
    source = config.init.source
    if not source:
        if params.model.freeze_backbone:
            raise ValueError(
                "config.model.freeze_backbone keeps the backbone as it is, and without config.init "
                "that is random: name a pre-training run"
            )
        return
    workdir = find_workdir(Path(source).expanduser())
    there = run_config.read_config(workdir)
    check_structure(params, there, source)
    here_channels, there_channels = params.data.voxels.in_channels, count_channels(there)
    if here_channels != there_channels and not named:
        raise ValueError(
            f"{source} was trained on {there_channels} input channels and "
            f"config.data.voxels.features {params.data.voxels.features!r} has {here_channels}: "
            f"choose the same, or --config.init.new='{(*config.init.new, STEM)}'"
        )


def find_workdir(source: Path) -> Path:
    """The workdir of a workdir, or of one of its checkpoints/<step>.

    Raises:
      FileNotFoundError: it holds no checkpoints.
    """
    workdir = source.parent.parent if source.parent.name == FOLDER else source
    if not (workdir / FOLDER).is_dir():
        raise FileNotFoundError(
            f"config.init={source} holds no checkpoint; name the workdir of an earlier run, or one "
            f"of its {FOLDER}/<step> folders"
        )
    return workdir


def check_structure(params: SegmentationParams, there: Mapping[str, Any], source: str) -> None:
    """Raises ValueError where the other run's U-Net has another structure."""
    key = "config.model.network_3d"
    network = read_params(NetworkParams, there["model"]["network_3d"], f"{source}: {key}")
    ours, theirs = (
        make_unet(values, STRIDE_3D, Execution()) for values in (params.model.network_3d, network)
    )
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
