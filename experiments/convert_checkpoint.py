"""Convert a public MinkowskiEngine checkpoint, such as PointContrast's or CSC's, without PyTorch.

    python experiments/convert_checkpoint.py --input hardest_contrastive.pth --out pointcontrast \
        --constant-input
    python experiments/finetune.py --config configs/segmentation.py --workdir runs/segmenter \
        --config.init=pointcontrast

`--out` becomes a folder like the workdir of a pre-training run: the U-Net under encoder_3d/unet,
the final layer as encoder_3d/projection. PointContrast's and CSC's networks take three input
channels. PointContrast fed ones: with --constant-input its network takes a single 1, which is this
project's geometry-only input, and computes the same. CSC fed colours: fine-tune it with
--config.data.voxels.features=color, or without colour and with its first kernel as new, beside the
classifier: --config.init.new='("classifier/.*", "encoder_3d/unet/stem_conv/kernel")'.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fourdc_jax.models.published.minkowski import Conversion, convert, describe
from fourdc_jax.models.published.torch_files import read_torch_file
from fourdc_jax.train import command
from fourdc_jax.train.checkpoints import FOLDER, Checkpoints, Retention
from fourdc_jax.train.run_config import write_config
from fourdc_jax.train.state import TrainState, count_parameters, split_variables

LISTED = 8  # names of a group that are printed


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--input", required=True, type=Path, help="the .pth file")
    add("--out", required=True, type=Path, help="new folder for the checkpoint")
    add(
        "--block-kernels",
        default="hybrid",
        choices=("hybrid", "hypercube"),
        help="order of the blocks' offsets: hybrid (PointContrast, CSC, "
        "SpatioTemporalSegmentation) or hypercube (MinkowskiEngine's examples)",
    )
    add("--constant-input", action="store_true", help="trained on ones: merge input channels")


def find_state_dict(content: Any) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint: its "state_dict", or itself.

    Raises:
      ValueError: it holds neither.
    """
    if isinstance(content, dict):
        nested = content.get("state_dict", content)
        if isinstance(nested, dict):
            arrays = {str(k): v for k, v in nested.items() if isinstance(v, np.ndarray)}
            if arrays:
                return arrays
        held = f"it holds {', '.join(map(str, content)) or 'nothing'}"
    else:
        held = "it holds a whole object of Python code"
    raise ValueError(
        f"it must hold a state dict, alone or as 'state_dict', but {held}; save it with "
        "torch.save(model.state_dict(), path)."
    )


def save(conversion: Conversion, out: Path) -> None:
    """Writes the variables as step 0 of a new workdir, and the network into its config.json.

    Raises:
      FileExistsError: there are checkpoints already.
    """
    if (out / FOLDER).exists():
        raise FileExistsError(f"{out} holds checkpoints already: name a new folder as --out.")
    out.mkdir(parents=True, exist_ok=True)
    write_config(out, describe_model(conversion))
    params, collections = split_variables(conversion.variables)
    state = TrainState(np.int32(0), params, collections, opt_state={})
    with Checkpoints(out, Retention(1, 0, ""), asynchronous=False) as checkpoints:
        checkpoints.save(0, state, [], {})


def describe_model(conversion: Conversion) -> ConfigDict:
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
    return ConfigDict({"model": {"in_channels": conversion.in_channels, "network_3d": network}})


def report(conversion: Conversion) -> str:
    """The network, and what was loaded, what is left over and what is missing."""
    params = count_parameters(conversion.variables["params"])
    lines = [describe(conversion), f"loaded {len(conversion.loaded)} arrays, {params:,} parameters"]
    for word, names in (("left over", conversion.left_over), ("missing", conversion.missing)):
        more = ", ..." if len(names) > LISTED else ""
        listed = f": {', '.join(names[:LISTED])}{more}" if names else ""
        lines.append(f"{word} {len(names)} arrays{listed}")
    return "\n  ".join(lines)


def main(args: argparse.Namespace) -> None:
    """Convert one file and print what became of its arrays."""
    content = read_torch_file(args.input)
    try:
        conversion = convert(
            find_state_dict(content),
            block_kernels=args.block_kernels,
            constant_input=args.constant_input,
        )
    except ValueError as error:
        raise ValueError(f"{args.input}: {error}") from error
    save(conversion, args.out)
    print(f"{args.input}: {report(conversion)}")
    print(f"Start from it with --config.init={args.out}")


if __name__ == "__main__":
    command.run(main, __doc__, add_flags)
