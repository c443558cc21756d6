"""Flags that several benchmarks have, and the file of their numbers."""

import argparse
import json
from pathlib import Path
from typing import Any

from fourdc_jax.train.command_line import at_least, output_file, positive

DTYPES = ("bfloat16", "float16", "float32")


def channel_pair(text: str) -> tuple[int, int]:
    """A flag's type: "c_in,c_out"."""
    try:
        c_in, c_out = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not c_in,c_out such as 64,128") from None
    return c_in, c_out


def add_size_flags(parser: argparse.ArgumentParser, sizes: str) -> None:
    """Voxels and layers; `sizes` says which the default ones are."""
    add = parser.add_argument
    add("--rows", type=at_least(1), nargs="+", action="extend", help=f"voxels; default: {sizes}")
    add("--voxel", type=positive, default=0.02, help="metres")
    add(
        "--channels",
        type=channel_pair,
        nargs="+",
        action="extend",
        metavar="C_IN,C_OUT",
        help="of the 3^3 layers; default: six on a GPU, two on a CPU",
    )


def add_timing_flags(parser: argparse.ArgumentParser, rounds: int) -> None:
    """How often, and where the numbers go."""
    add = parser.add_argument
    add("--rounds", type=at_least(1), default=rounds, help="timed rounds")
    add("--output", type=output_file, help="JSON file of all numbers")


def write_numbers(path: Path | None, numbers: dict[str, Any]) -> None:
    """Writes them where a file was named."""
    if path is not None:
        path.write_text(json.dumps(numbers, indent=1) + "\n")
