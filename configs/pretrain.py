"""4DContrast pre-training (section 4 of the paper).

    python experiments/pretrain.py --config configs/pretrain.py --workdir runs/pretrain \
        --config.data.scans=<ScanNet scans or cache> --config.data.shapes=<ModelNet tree or cache>
    python experiments/pretrain.py --config configs/pretrain.py:demo --workdir runs/demo
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The paper's values; `demo` shrinks them to minutes on a laptop CPU."""
    if arg not in ("", "demo"):
        raise ValueError(f"configs/pretrain.py takes no argument or 'demo', got {arg!r}")
    config = ConfigDict()
    config.seed = 0
    config.total_steps = 50_000
    config.batch_size = 12  # sequences an optimiser step, over all devices and processes
    config.accumulate = 1  # micro-batches an optimiser step
    config.init = ""  # workdir of an earlier run to start from
    config.implementation = "auto"

    config.data = ConfigDict()
    config.data.scans = "procedural"  # or a folder: ScanNet scenes, single files, S3DIS rooms, a cache
    config.data.shapes = "procedural"  # or a folder: ModelNet tree, meshes, point sets, a cache

    config.sequence = ConfigDict()

    config.model = ConfigDict()

    config.loss = ConfigDict()

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 0.25
    config.optimizer.momentum = 0.8
    config.optimizer.weight_decay = 1e-4
    config.optimizer.decay_rate = 0.99
    config.optimizer.decay_every = 1000

    config.checkpoint = ConfigDict()

    config.log = ConfigDict()

    if arg == "demo":
        shrink_to_demo(config)
    return config.lock()


def shrink_to_demo(config: ConfigDict) -> None:
    """Minutes on two CPU cores: small networks, coarse voxels, few steps."""
