"""Run, or print, every variant of a config: the overrides that its `sweep()` yields.

    python experiments/sweep.py --config configs/pretrain.py:demo --workdir runs/sweep --dry_run
    python experiments/sweep.py --config configs/pretrain.py --workdir runs/sweep -- --config.seed=1

Each variant runs in a workdir named after its overrides, one after another; what follows `--` goes
to all of them. Running the sweep again resumes every variant where it was left.
"""

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

CONFIG = flags.DEFINE_string("config", None, "Config file, with its argument.", required=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Parent of the variants' workdirs.", required=True)
SCRIPT = flags.DEFINE_string("script", "experiments/pretrain.py", "What runs a variant.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print the commands only.")


def load_sweep(config: str) -> Iterable[Mapping[str, Any]]:
    """The overrides of a config file; raises ValueError where it has no `sweep()`."""
    path = Path(config.split(":", 1)[0])
    if not path.is_file():
        raise FileNotFoundError(f"--config={config}: there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "sweep"):
        raise ValueError(f"{path} has no function sweep() that yields dicts of overrides")
    return module.sweep()


def name_variant(overrides: Mapping[str, Any]) -> str:
    """A folder name such as "loss.w_4d=0.5,seed=1"."""
    text = ",".join(f"{key}={value}" for key, value in overrides.items()) or "base"
    return re.sub(r"[^\w.,=+-]", "_", text)


def make_command(
    script: str, config: str, workdir: Path, overrides: Mapping[str, Any], extra: Sequence[str]
) -> list[str]:
    """The command line of one variant."""
    values = [f"--config.{key}={value}" for key, value in overrides.items()]
    folder = workdir / name_variant(overrides)
    return [sys.executable, script, f"--config={config}", f"--workdir={folder}", *values, *extra]


def main(argv: Sequence[str]) -> None:
    """One command a variant; the exit code is 1 if any of them failed."""
    try:
        variants = list(load_sweep(CONFIG.value))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    failed = []
    for overrides in variants:
        command = make_command(SCRIPT.value, CONFIG.value, Path(WORKDIR.value), overrides, argv[1:])
        print(shlex.join(command), flush=True)
        if not DRY_RUN.value and subprocess.run(command, check=False).returncode != 0:
            failed.append(name_variant(overrides))
    if failed:
        sys.exit(f"error: {len(failed)} of {len(variants)} variants failed: {', '.join(failed)}")


if __name__ == "__main__":
    app.run(main)
