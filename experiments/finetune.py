"""Fine-tune for semantic segmentation. See configs/segmentation.py for commands and numbers.

    python experiments/finetune.py --config configs/segmentation.py:demo --workdir runs/segmenter \
        --config.init=runs/demo

The same command resumes. Several processes: add --coordinator=host:port --num_processes=N
--process_index=I on each.
"""

import argparse

from fourdc_jax.tasks.segmentation import task as segmentation
from fourdc_jax.train import command, loop, preflight


def main(args: argparse.Namespace) -> None:
    """Config, task, training."""
    workdir = command.start(args)
    preflight.check_workdir(workdir)
    loop.train(segmentation.create_task(args.config, workdir), args.config, workdir)


if __name__ == "__main__":
    command.run(main, __doc__, command.add_run_flags, config="configs/segmentation.py")
