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

from fourdc_jax.models.published.minkowski import Conversion, convert, describe, describe_model
from fourdc_jax.models.published.torch_files import find_state_dict, read_torch_file
from fourdc_jax.train import command
from fourdc_jax.train.state import count_parameters
from fourdc_jax.train.weights import write_weights

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
    write_weights(args.out, conversion.variables, describe_model(conversion))
    print(f"{args.input}: {report(conversion)}")
    print(f"Start from it with --config.init={args.out}")


if __name__ == "__main__":
    command.run(main, __doc__, add_flags)
