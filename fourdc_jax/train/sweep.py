"""Variants of a config: the overrides that its `sweep()` yields, and the command that runs each."""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fourdc_jax.train.command_line import CONFIGS, find_file, load_module


def load_sweep(config: str) -> list[Mapping[str, Any]]:
    """The overrides of a config, "file.py" or "file.py:argument", one mapping a variant.

    Raises:
      FileNotFoundError, ValueError: there is no such file, or it has no `sweep()`.
    """
    path = find_file(config.partition(":")[0], CONFIGS, listed="def sweep(")
    module = load_module(path)
    if not hasattr(module, "sweep"):
        raise ValueError(f"{path} has no function sweep() that yields dicts of overrides")
    return list(module.sweep())


def name_variant(overrides: Mapping[str, Any]) -> str:
    """A folder name such as "loss.w_4d=0.5,seed=1"."""
    text = ",".join(f"{key}={value}" for key, value in overrides.items()) or "base"
    return re.sub(r"[^\w.,=+-]", "_", text)


def make_command(
    script: Path, config: str, workdir: Path, overrides: Mapping[str, Any], extra: Sequence[str]
) -> list[str]:
    """The command line of one variant."""
    values = [f"--config.{key}={value}" for key, value in overrides.items()]
    folder = workdir / name_variant(overrides)
    line = [sys.executable, str(script), f"--config={config}", f"--workdir={folder}"]
    return [*line, *values, *extra]


def run_variant(command: Sequence[str]) -> int:
    """Runs one variant; returns its exit code.

    Ctrl-C reaches it, too, and it may still save: it is waited for before KeyboardInterrupt is
    passed on.
    """
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
