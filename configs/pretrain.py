"""4DContrast pre-training (section 4 of the paper).

    python experiments/pretrain.py --config configs/pretrain.py --workdir runs/pretrain \
        --config.data.scans=<ScanNet scans or cache> --config.data.shapes=<ModelNet tree or cache>
    python experiments/pretrain.py --config configs/pretrain.py:demo --workdir runs/demo

The paper trains 50,000 steps of 12 sequences; nobody has run that with this code yet, so there is
no time and no number to expect. The demo takes 2.5 to 3.5 minutes on two CPU cores; its total
loss falls from 0 to about -1.74, the spread of its features stays near 0.12, of 0.125 at most, and
their rank near 4 in 3D and 6 in 4D, of 64.
"""

from collections.abc import Iterator
from typing import Any

from fourdc_jax.configs.common import checkpoint, init, log, network, optimizer, shrink_network
from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The paper's values; `demo` shrinks them to minutes on a laptop CPU."""
    if arg not in ("", "demo"):
        raise ValueError(f"configs/pretrain.py takes no argument or 'demo', got {arg!r}")
    config = ConfigDict()
    config.task = "pretrain"
    config.seed = 0
    config.total_steps = 50_000
    config.batch_size = 12  # sequences an optimiser step, over all devices and processes
    config.accumulate = 1  # micro-batches an optimiser step
    config.init = init()
    config.implementation = "auto"

    config.data = data_config()
    config.sequence = sequence_config()

    config.model = model_config()
    config.loss = loss_config()

    # The momentum and the weight decay are PointContrast's, the paper is silent.
    config.optimizer = optimizer(learning_rate=0.25, schedule="exponential", momentum=0.8)
    config.checkpoint = checkpoint(every=400, keep_last=2, keep_every=10_000)
    config.log = log()
    config.log.collapse_fraction = 0.2  # alarm below this share of 1/sqrt(d), a healthy spread
    config.log.collapse_rank = 2.0  # alarm where features fill fewer directions than this

    if arg == "demo":
        shrink_to_demo(config)
    return config.lock()


def sweep() -> Iterator[dict[str, Any]]:
    """Table 6: static scenes, then sequences, with the 3D loss alone; and all three losses."""
    only_3d = {"loss.weight_3d4d": 0.0, "loss.weight_4d": 0.0}
    yield {"sequence.with_object": False, **only_3d}
    yield only_3d
    yield {}


def model_config() -> ConfigDict:
    """Both networks and their heads; values the paper does not give are marked (open)."""
    model = ConfigDict()
    model.in_channels = 1  # constant: only geometry is seen
    norm = {"batch_norm_momentum": 0.05}  # as PointContrast pre-trains
    model.network_3d = network("Res16UNet34C", stem_kernel_size=(3, 3, 3), **norm)  # 38M
    # The one network in MinkowskiEngine's and its relatives' code with the paper's 33M (open).
    model.network_4d = network("MinkUNet14", stem_kernel_size=(3, 3, 3, 3), **norm)
    model.features = 128  # of projections and predictions (open)
    # SimSiam's projector ends in one, the paper says nothing. Without it features collapsed, with
    # equation 5 as printed: within 30 steps of the demo their spread fell to 0.22 of 1/sqrt(d).
    model.projection_batch_norm = True
    model.predictor_hidden = 32  # a quarter of the features, as SimSiam
    model.dtype = "float32"  # or "bfloat16": features and matrix products
    model.remat = False  # True: less memory, about a third more time
    return model


def loss_config() -> ConfigDict:
    """Equation 9; values the paper does not give are marked (open)."""
    loss = ConfigDict()
    loss.method = "4dcontrast"
    loss.weight_3d = 1.0  # w_3D, w_3D4D, w_4D of equation 9 (open); 0 leaves a term out
    loss.weight_3d4d = 1.0
    loss.weight_4d = 1.0
    # What the printed sums are divided by: the number of "pairs", or the number of "sequences".
    loss.reduction = "pairs"
    # Constant side of equation 5: SimSiam's, the "projection", or the "prediction" as printed. As
    # printed no predictor learns from it, and features collapse to a line: after 100 steps of the
    # demo on 200 rooms their rank is 1.2, otherwise 4 to 6.
    loss.stop_gradient_3d4d = "projection"
    return loss


def data_config() -> ConfigDict:
    """Scans, shapes and batches; values the paper does not give are marked (open)."""
    data = ConfigDict()
    data.scans = "procedural"  # or a folder: ScanNet scenes, single files, a cache
    data.shapes = "procedural"  # or a folder: ModelNet tree, meshes, point sets, a cache
    data.scan_split_file = ""  # one scan name a line, e.g. scannetv2_train.txt; "": all
    data.align_axes = True  # apply ScanNet's axisAlignment
    data.scan_scale = 1.0  # unit of the scan files in metres: 0.001 for millimetres
    data.min_scan_points = 1000  # a scan of fewer points is refused
    data.categories = (  # the paper's eight; in ModelNet's spelling
        *("chair", "desk", "dresser", "night_stand"),
        *("sofa", "table", "bathtub", "toilet"),
    )
    data.shape_split = ""  # ModelNet folders "train" or "test"; "": all (open in the paper)
    data.shape_points = 4096  # sampled on each surface once; a frame takes 1000 of them
    data.shape_up = "auto"  # the shape files' up axis: "z", "y", or by format

    data.trajectories_per_scan = 20  # sequences of a scan in an epoch
    data.shapes_per_scan = 4  # shapes tried in a scan before the next scan takes its place
    data.max_attempts = 400  # (scan, shape) pairs tried before an error
    data.overflow = "crop"  # samples larger than the capacity: "crop" or "error"
    data.cached = 64  # prepared scans, and shapes, that a process keeps in memory
    data.num_workers = 0  # worker processes; 0: a thread of the training process
    data.prefetch = 2  # micro-batches each of them keeps ready
    data.capacity = ConfigDict()  # static rows of a micro-batch: measured on the data ...
    data.capacity.num_samples = 64
    data.capacity.margin = 1.1
    data.capacity.multiple = 1024
    data.capacity.rows_3d = ()  # ... unless given here, one number a level
    data.capacity.rows_4d = ()
    data.voxels = ConfigDict()
    data.voxels.voxel_3d = 0.02  # metres
    data.voxels.voxel_4d = 0.05
    data.voxels.stride_time = True  # the 4D network's levels stride time, too
    data.voxels.num_tracks = 4096  # correspondences sampled from a sequence
    # The object has about 1% of the points: in proportion (None) it would hardly be heard.
    data.voxels.object_share = 0.125
    data.transforms = ConfigDict()  # of each 3D frame, never of the 4D sequence
    data.transforms.rotation = (2.8125, 2.8125, 180.0)  # degrees about x, y, z (CSC)
    data.transforms.translation = (0.5, 0.5, 0.5)  # metres
    data.transforms.scale = (0.9, 1.1)
    return data


def sequence_config() -> ConfigDict:
    """Section 3.3; values the paper does not give are marked (open)."""
    sequence = ConfigDict()
    sequence.num_frames = 4
    sequence.scene_voxel = 0.02  # metres
    sequence.max_extent = 200.0  # metres; a larger scan is in another unit
    sequence.num_object_points = 1000
    sequence.with_object = True  # False: static scenes (Table 6, "3D data")

    sequence.floor_map = ConfigDict()
    sequence.floor_map.voxel = 0.10
    sequence.floor_map.max_accumulation = 1
    sequence.floor_map.floor_band = 0.20
    sequence.floor_map.max_hole = 0.10  # square metres of unseen floor (open)

    sequence.trajectory = ConfigDict()
    sequence.trajectory.step = (0.30, 0.90)
    sequence.trajectory.max_turn = 150.0  # degrees
    sequence.trajectory.snap_tolerance = 1.0  # cells beyond a bound that snapping may lead (open)
    sequence.trajectory.max_starts = 20
    sequence.trajectory.max_draws = 50

    sequence.presence = ConfigDict()
    sequence.presence.scene_share = (0.85, 0.95)  # random points of a frame (open)
    sequence.presence.object_share = (0.85, 0.95)  # (open)
    sequence.presence.num_chunks = (5, 15)
    sequence.presence.chunk_size = (0.15, 0.45)
    sequence.presence.chunk_extent = "axes"  # of which the size is a part, see augmentation (open)
    sequence.presence.chunk_centers = "box"  # uniform in the bounding box, or at "points" (open)
    sequence.presence.chunks_per = "frame"  # or "sequence" (open)
    sequence.presence.min_scene = 0.30
    sequence.presence.min_object = 0.30
    sequence.presence.min_frame = 0.50
    sequence.presence.max_draws = 100

    # Metres: height, and the longer horizontal side, of common furniture (open).
    sequence.sizes = ConfigDict(
        {
            "bathtub": {"height": (0.50, 0.65), "width": (1.40, 1.75)},
            "chair": {"height": (0.75, 1.00), "width": (0.42, 0.65)},
            "desk": {"height": (0.70, 1.20), "width": (1.00, 1.60)},
            "dresser": {"height": (0.70, 1.30), "width": (0.60, 1.50)},
            "night_stand": {"height": (0.45, 0.70), "width": (0.40, 0.65)},
            "sofa": {"height": (0.70, 0.95), "width": (1.40, 2.20)},
            "table": {"height": (0.45, 0.78), "width": (0.60, 1.60)},
            "toilet": {"height": (0.70, 0.85), "width": (0.60, 0.75)},
        }
    )
    return sequence


def shrink_to_demo(config: ConfigDict) -> None:
    """Minutes on two CPU cores: small networks, coarse voxels, few steps."""
    config.total_steps = 80
    config.batch_size = 2
    config.checkpoint.every = 40
    config.log.every = 5
    config.data.scans = "procedural:16"
    config.data.shapes = "procedural:64"
    config.data.capacity.num_samples = 16
    config.data.voxels.voxel_3d = 0.12
    config.data.voxels.voxel_4d = 0.24
    config.data.voxels.num_tracks = 512
    shrink_network(config.model.network_3d)
    shrink_network(config.model.network_4d)
    config.model.network_4d.kernel_type = "hypercross"  # 9 offsets, not 81
    config.model.features = 64
    config.model.predictor_hidden = 16
