"""Fine-tune for semantic segmentation. See configs/segmentation.py for commands and numbers.

    python experiments/finetune.py --config configs/segmentation.py:demo --workdir runs/segmenter \
        --config.init=runs/demo

The same command resumes. Several processes: add --coordinator=host:port --num_processes=N
--process_index=I on each.
"""

from ml_collections import config_flags

from fourdc_jax.tasks.segmentation import task as segmentation
from fourdc_jax.train import command, loop, preflight

CONFIG = config_flags.DEFINE_config_file("config", "configs/segmentation.py")
command.define_flags()


def main() -> None:
    """Flags, config, task, training."""
    workdir = command.start()
    preflight.check_workdir(workdir)
    loop.train(segmentation.create_task(CONFIG.value, workdir), CONFIG.value, workdir)


if __name__ == "__main__":
    command.run(main)
