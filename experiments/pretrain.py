"""Pre-train 4DContrast. See configs/pretrain.py for commands, hardware and expected numbers.

    python experiments/pretrain.py --config configs/pretrain.py:demo --workdir runs/demo

The same command resumes. Several processes: add --coordinator=host:port --num_processes=N
--process_index=I on each.
"""

from ml_collections import config_flags

from fourdc_jax.tasks.pretrain import task as pretrain
from fourdc_jax.train import command, loop, preflight

CONFIG = config_flags.DEFINE_config_file("config", "configs/pretrain.py")
command.define_flags()


def main() -> None:
    """Flags, config, task, training."""
    workdir = command.start()
    preflight.check_workdir(workdir)
    loop.train(pretrain.create_task(CONFIG.value), CONFIG.value, workdir)


if __name__ == "__main__":
    command.run(main)
