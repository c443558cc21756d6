"""Pre-train 4DContrast. See configs/pretrain.py for commands, hardware and expected numbers.

    python experiments/pretrain.py --config configs/pretrain.py:demo --workdir runs/demo

The same command resumes. Several processes: add --coordinator=host:port --num_processes=N
--process_index=I on each.
"""

import argparse

from fourdc_jax.tasks.pretrain import task as pretrain
from fourdc_jax.train import command, loop, preflight


def main(args: argparse.Namespace) -> None:
    """Config, task, training."""
    workdir = command.start(args)
    preflight.check_workdir(workdir)
    loop.train(pretrain.create_task(args.config), args.config, workdir)


if __name__ == "__main__":
    command.run(main, __doc__, command.add_run_flags, config="configs/pretrain.py")
