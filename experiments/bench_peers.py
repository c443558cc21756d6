"""This engine beside its peers, in one process and in turns, on a CPU or a GPU.

    pip install torch spconv                  # CPU, or spconv-cu126 for a GPU
    pip install torch spconv-triton           # GPU
    python experiments/bench_peers.py [--device gpu] [--rows 20480]

Peers are no dependency: whoever wants the comparison installs them, and those that are missing are
named. Same coordinates, same channels, same network (Res16UNet34C with a 5^3 stem and batch
normalisation, SGD with momentum): layers with their maps cached, all maps, and the network's
forward pass and training step with the maps built anew. On a GPU features are bfloat16 where an
engine can, else float16, networks have float32 parameters, and 4D layers with 81 offsets join; on a
CPU all is float32. `timing.py` says how is measured.

One layer of each engine is checked against a float64 sum over neighbours before anything is timed;
an engine that is wrong or fails is named and left out. On the CPU spconv's scatter is exact with
one thread only; the wrong rows with all threads are counted.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle workers of one engine leave the cores
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # engines share the GPU's memory

import argparse
from importlib.util import find_spec

import jax
from benchmarks.flags import add_size_flags, add_timing_flags, write_numbers
from benchmarks.timing import on_gpu

from fourdc_jax.train import command


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--device", choices=("cpu", "gpu"), help="default: what JAX finds")
    add_size_flags(parser, "10240, 102400, 1024000 on a GPU, less on a CPU")
    add(
        "--network",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also the whole Res16UNet34C",
    )
    add_timing_flags(parser, rounds=5)


def main(args: argparse.Namespace) -> None:
    """All engines at every size."""
    gpu = on_gpu()
    if args.device not in (None, "gpu" if gpu else "cpu"):
        raise ValueError(f"--device {args.device}, but JAX runs on {jax.default_backend()!r}")
    if find_spec("torch") is None:
        raise ValueError("the other engines run on PyTorch, which is missing: see --help")
    from benchmarks.peer_times import compare_engines  # needs PyTorch, which --help does not

    results = compare_engines(
        rows=args.rows or ([10_240, 102_400, 1_024_000] if gpu else [20_480, 102_400]),
        voxel=args.voxel,
        channels=args.channels,
        whole_network=args.network,
        rounds=args.rounds,
    )
    write_numbers(args.output, {"device": jax.devices()[0].device_kind, "results": results})


if __name__ == "__main__":
    command.run(main, __doc__, add_flags, less_memory="lower --rows")
