"""Run, or print, every variant of a config: the overrides that its `sweep()` yields.

    python experiments/sweep.py --config configs/pretrain.py:demo --workdir runs/sweep --dry-run
    python experiments/sweep.py --config configs/pretrain.py --workdir runs/sweep -- --config.seed=1

Each variant runs in a workdir named after its overrides, one after another; what follows `--` goes
to all of them. Running the sweep again resumes every variant where it was left.
"""

import argparse
import shlex
from pathlib import Path

from fourdc_jax.train import command
from fourdc_jax.train.command_line import find_file
from fourdc_jax.train.sweep import load_sweep, make_command, name_variant, run_variant


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--config", required=True, metavar="FILE[:ARGUMENT]", help="a config with a sweep()")
    add("--workdir", required=True, type=Path, help="parent of the variants' workdirs")
    add("--script", default="experiments/pretrain.py", help="what runs a variant")
    add("--dry-run", action="store_true", help="print the commands only")


def main(args: argparse.Namespace) -> int:
    """One command a variant; the exit code is 1 if any of them failed."""
    variants = load_sweep(args.config)
    script = find_file(args.script, Path(__file__).parent)
    failed = []
    for overrides in variants:
        line = make_command(script, args.config, args.workdir, overrides, args.extra)
        print(shlex.join(line), flush=True)
        if not args.dry_run and run_variant(line) != 0:
            failed.append(name_variant(overrides))
    if failed:
        command.tell(
            f"error: {len(failed)} of {len(variants)} variants failed: {', '.join(failed)}"
        )
    return bool(failed)


if __name__ == "__main__":
    command.run(main, __doc__, add_flags, extra=True)
