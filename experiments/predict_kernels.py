"""What the compiled kernels say about a network's training step without a GPU: a prediction.

    JAX_PLATFORMS=cpu python experiments/predict_kernels.py [--rows 102400 --rows 1228800]

Every convolution of Res16UNet34C is compiled for the architecture as it is for a user, with the
tile that would be chosen, and its kernels are read: registers, spills, shared memory, programs of a
multiprocessor, matrix instructions. Rows, existing pairs and what tiles compute beside existing
pairs are counted on the real maps of procedural rooms. Nothing here is measured on a GPU.

`kernel_times.py` says how a time is predicted. Everything else of a step (normalisation, optimiser,
maps) is added by rule. `--gemm-rows` and `--gemm-warps` ask what other tiles would do.
"""

import argparse
from importlib.util import find_spec

from benchmarks.flags import DTYPES
from benchmarks.kernel_times import Assumptions
from benchmarks.step_prediction import Question, predict_step

from fourdc_jax.models.architectures import find_architecture
from fourdc_jax.train import command
from fourdc_jax.train.command_line import at_least, positive

GOALS_MS = {"step at 100k": 2.5, "step at 1.2M": 25.0, "maps at 100k": 0.3}


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--rows",
        type=at_least(1),
        nargs="+",
        action="extend",
        help="voxels, more than one room's are a batch; default: 102400",
    )
    add("--rows-of-room", type=at_least(1), default=102_400, help="voxels of each room at most")
    add("--voxel", type=positive, default=0.02, help="metres")
    add("--dtype", default="bfloat16", choices=DTYPES, help="of features")
    add("--network", default="Res16UNet34C", help="name of the U-Net")
    add("--gemm-rows", type=at_least(1), help="of every implicit GEMM's tile")
    add("--gemm-warps", type=at_least(1), help="of every implicit GEMM's programs")
    add(
        "--kernels",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="print every kernel, not only the sums",
    )


def main(args: argparse.Namespace) -> None:
    """The tables of every size."""
    find_architecture(args.network)
    if find_spec("triton") is None or find_spec("jax_triton") is None:
        raise ValueError("kernels are compiled with triton and jax-triton: pip install '.[ptx]'")
    print("PREDICTED from compiled code and counts, not measured. " + str(Assumptions()))
    for rows in args.rows or [102_400]:
        question = Question(
            args.network, args.dtype, rows, args.rows_of_room, args.voxel, args.gemm_rows,
            args.gemm_warps,
        )  # fmt: skip
        predict_step(question, print_kernels=args.kernels)
    print(f"\ngoals on an H200, milliseconds: {GOALS_MS}")


if __name__ == "__main__":
    command.run(main, __doc__, add_flags, less_memory="lower --rows")
