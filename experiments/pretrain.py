"""Pre-train 4DContrast. See configs/pretrain.py for commands, hardware and expected numbers.

    python experiments/pretrain.py --config configs/pretrain.py:demo --workdir runs/demo

The same command resumes. Several processes: add --coordinator=host:port --num_processes=N
--process_index=I on each.
"""

import argparse

from fourdc_jax.tasks.from_config import create_task
from fourdc_jax.train import command, loop, preflight


def main(args: argparse.Namespace) -> None:
    """Config, task, training."""
    config, workdir = args.config, command.start(args)
    if config.get("task") != "pretrain":
        raise ValueError(
            f"config.task is {config.get('task')!r}: that is what experiments/finetune.py is for"
        )
    preflight.check_paths(config, workdir)
    loop.train(create_task(config), config, workdir)


if __name__ == "__main__":
    command.run(main, __doc__, command.add_run_flags, config="configs/pretrain.py")
