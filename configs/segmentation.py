"""Fine-tuning for semantic segmentation (section 4.1 of the paper: Tables 3, 6 and 7, Figure 6).

    python experiments/finetune.py --config configs/segmentation.py --workdir runs/segmenter \
        --config.init=<pre-training workdir> \
        --config.data.train.scans=<ScanNet scans> --config.data.validation.scans=<ScanNet scans> \
        --config.data.train.split_file=scannetv2_train.txt \
        --config.data.validation.split_file=scannetv2_val.txt
    python experiments/finetune.py --config configs/segmentation.py:demo \
        --workdir runs/demo_segmenter --config.init=runs/demo
    python experiments/sweep.py --script=experiments/finetune.py --config configs/segmentation.py \
        --workdir runs/data_efficient

The paper trains 10,000 steps of 48 scenes and reports a validation mIoU of 72.3 (70.0 from
scratch); nobody has run that with this code yet. Training scenes are ScanNet's or procedural rooms
with its 20 classes. Without --config.init the network starts from scratch.
The demo takes two minutes on two CPU cores. Seed 0 ended at a validation mIoU of 14.7 from scratch
and 17.1 from the demo pre-training.
"""

from collections.abc import Iterator
from typing import Any

from fourdc_jax.configs.common import checkpoint, init, log, network, optimizer, shrink_network
from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The paper's values; `demo` shrinks them to minutes on a laptop CPU."""
    if arg not in ("", "demo"):
        raise ValueError(f"configs/segmentation.py takes no argument or 'demo', got {arg!r}")
    config = ConfigDict()
    config.task = "segmentation"
    config.seed = 0
    config.total_steps = 10_000
    config.batch_size = 48  # scenes an optimiser step, over all devices and processes
    config.accumulate = 1  # micro-batches an optimiser step
    heads = ("encoder_3d/projection.*", "predictor_3d/.*", "encoder_4d/.*", "predictor_4d/.*")
    config.init = init(skip=(*heads, "classifier/.*"), new=("classifier/.*",))
    config.implementation = "auto"

    config.data = data_config()

    config.model = ConfigDict()
    config.model.network_3d = network(  # 38M, as pre-trained; momentum of PointContrast and CSC
        "Res16UNet34C", stem_kernel_size=(3, 3, 3), batch_norm_momentum=0.02
    )
    config.model.freeze_backbone = False  # True: only the classifier learns (linear probe)
    config.model.dtype = "float32"  # or "bfloat16": features and matrix products
    config.model.remat = False  # True: less memory, about a third more time

    # Momentum, dampening and weight decay are those of PointContrast and CSC.
    config.optimizer = optimizer(
        learning_rate=0.8, schedule="polynomial", momentum=0.9, dampening=0.1
    )

    config.eval = ConfigDict()
    config.eval.every = 500  # steps between two validations; the last step has one, too
    config.eval.rotations = 1  # predictions averaged, of the scene turned about z
    config.eval.max_rows = 0  # voxels run at a time, larger scenes in tiles; 0: whole scenes

    config.checkpoint = checkpoint(every=500, best_metric="val_miou")
    config.log = log()

    if arg == "demo":
        shrink_to_demo(config)
    return config.lock()


def sweep() -> Iterator[dict[str, Any]]:
    """Figure 6: parts of the training scenes, from scratch and pre-trained, three seeds each.

    Without the benchmark's lists (`-- --config.data.limited.list_file="lists/{percent}.txt"`) the
    parts are seeded subsets: each seed has its own, the same for both. The pre-trained network is
    that of the workdir runs/pretrain.
    """
    for percent in (1, 5, 10, 20, 100):
        for seed in (0, 1, 2):
            for source in ("", "runs/pretrain"):
                values = {"seed": seed, "data.limited.seed": seed, "init": source}
                yield {"data.limited.percent": float(percent), **values}


def data_config() -> ConfigDict:
    """Scenes, their changes, and batches; values the paper does not give are CSC's."""
    data = ConfigDict()
    data.classes = ConfigDict()
    data.classes.label_set = "scannet20"  # "s3dis", or "file": your own labels 0, 1, ...
    data.classes.num_classes = 0  # of your own, where no classes.txt names them
    data.train = split_config(seed=0)
    data.validation = split_config(seed=1000)  # no seed of a pre-training or a training split
    data.limited = ConfigDict()  # the part of the training scenes that is used
    data.limited.percent = 100.0
    data.limited.list_file = ""  # list of that percentage, "lists/{percent}.txt"; "": seeded subset
    data.limited.seed = 0
    data.align_axes = False  # apply ScanNet's axisAlignment
    data.scan_scale = 1.0  # unit of the scan files in metres: 0.001 for millimetres
    data.min_scan_points = 1000  # a scan of fewer points is refused
    data.label_tables = ()  # scannetv2-labels.combined.tsv, where it is not above the scans
    data.cached = 256  # scans of each split that a process keeps in memory
    data.overflow = "crop"  # scenes larger than the capacity: "crop" or "error"
    data.num_workers = 4  # worker processes; 0: a thread of the training process
    data.prefetch = 2  # micro-batches each of them keeps ready

    data.augmentation = ConfigDict()
    data.augmentation.dropout = 0.2  # share of the voxels, ...
    data.augmentation.dropout_probability = 0.2  # ... and how often
    data.augmentation.elastic_granularity = (0.2, 0.8)  # metres
    data.augmentation.elastic_magnitude = (0.4, 1.6)  # metres
    data.augmentation.elastic_probability = 0.95
    data.augmentation.rotation = (2.8125, 2.8125, 180.0)  # degrees about x, y, z
    data.augmentation.scale = (0.9, 1.1)
    data.augmentation.flip_probability = 0.95  # then each horizontal axis one in two
    data.augmentation.voxel_offset = 99  # voxels, along each axis
    data.augmentation.color = ConfigDict()
    data.augmentation.color.contrast = 0.2  # probability
    data.augmentation.color.shift = 0.1  # parts of the range, as the noise
    data.augmentation.color.noise = 0.05
    data.augmentation.color.probability = 0.95  # of the shift, and of the noise

    data.voxels = ConfigDict()
    data.voxels.voxel = 0.02  # metres
    data.voxels.features = "constant"  # only geometry is seen; or "color"

    data.capacity = ConfigDict()  # static rows of a micro-batch: measured on the data ...
    data.capacity.num_samples = 64
    data.capacity.margin = 1.1
    data.capacity.multiple = 1024
    data.capacity.rows = ()  # ... unless given here, one number a level
    data.capacity.growth = 1.5  # validation compiles for capacities that differ by this factor
    return data


def split_config(seed: int) -> ConfigDict:
    """The scenes of one split."""
    split = ConfigDict()
    split.scans = "procedural:200"  # or a folder: ScanNet scenes, S3DIS rooms, your own, a cache
    split.split_file = ""  # one scan name a line, e.g. scannetv2_train.txt; "": all
    split.areas = ()  # of S3DIS, e.g. (5,); empty: all
    split.seed = seed  # of procedural rooms; different seeds share none
    return split


def shrink_to_demo(config: ConfigDict) -> None:
    """Minutes on two CPU cores: the small network of the demo pre-training, coarse voxels."""
    config.total_steps = 150
    config.batch_size = 4
    config.optimizer.learning_rate = 0.4
    config.eval.every = 50
    config.checkpoint.every = 50
    config.log.every = 5
    config.data.train.scans = "procedural:24"
    config.data.validation.scans = "procedural:12"
    config.data.num_workers = 0
    config.data.voxels.voxel = 0.12
    config.data.capacity.num_samples = 16
    config.data.capacity.multiple = 256
    config.data.capacity.growth = 4.0  # one program for all rooms
    shrink_network(config.model.network_3d)
    config.model.network_3d.batch_norm_momentum = 0.1  # few steps: statistics must keep up
