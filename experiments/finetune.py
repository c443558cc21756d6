"""Fine-tune a pre-trained network for the task that the config names, or train it from scratch.

    python experiments/finetune.py --config configs/segmentation.py:demo --workdir runs/segmenter \
        --config.init=runs/demo

Each task's config has its commands and expected numbers: configs/segmentation.py. The same command
resumes. Several processes: add --coordinator=host:port --num_processes=N --process_index=I on each.
"""

import argparse

from fourdc_jax.tasks.from_config import create_task
from fourdc_jax.train import command, loop, preflight


def main(args: argparse.Namespace) -> None:
    """Config, task, training."""
    config, workdir = args.config, command.start(args)
    if config.get("task") == "pretrain":
        raise ValueError("config.task is 'pretrain': that is what experiments/pretrain.py is for")
    preflight.check_paths(config, workdir)
    loop.train(create_task(config), config, workdir)


if __name__ == "__main__":
    command.run(main, __doc__, command.add_run_flags, config="")
