"""What all configs share: one function for each part, whose arguments are what differs."""

from ml_collections import ConfigDict


def network(
    architecture: str, *, stem_kernel_size: tuple[int, ...], batch_norm_momentum: float
) -> ConfigDict:
    """A U-Net."""
    values = ConfigDict()
    values.architecture = architecture  # or "": by planes, layers and block
    values.planes = ()
    values.layers = ()
    values.block = "basic"
    values.stem_channels = 32
    values.stem_kernel_size = stem_kernel_size
    values.kernel_type = "hypercube"  # of residual blocks; "hybrid": 3^3 cube and temporal cross
    values.batch_norm_momentum = batch_norm_momentum
    # The residual blocks of PointContrast and CSC keep 0.1, whatever their bn_momentum says.
    values.block_batch_norm_momentum = 0.1
    return values


def shrink_network(values: ConfigDict) -> None:
    """The small U-Net of the demos; one that was pre-trained so fits one that is fine-tuned so."""
    values.architecture = ""
    values.planes = (16, 32, 48, 64, 64, 48, 32, 32)
    values.layers = (1, 1, 1, 1, 1, 1, 1, 1)
    values.stem_channels = 16


def optimizer(
    *,
    learning_rate: float,
    schedule: str,
    kind: str = "sgd",
    momentum: float = 0.9,
    dampening: float = 0.0,
    weight_decay: float = 1e-4,
) -> ConfigDict:
    """How parameters follow the gradient."""
    values = ConfigDict()
    values.kind = kind  # "sgd" or "adam"
    values.learning_rate = learning_rate
    values.momentum = momentum  # sgd: share of the last update that is kept
    values.dampening = dampening  # sgd: share of each new gradient left out of the momentum
    values.b1 = 0.9  # adam: decay of the mean of gradients ...
    values.b2 = 0.999  # ... and of that of their squares
    values.epsilon = 1e-8  # adam: added to the root of the latter
    # Of every parameter. sgd: joins the gradient before momentum; adam: decoupled (AdamW).
    values.weight_decay = weight_decay
    values.schedule = schedule  # "constant", "exponential" or "polynomial"
    values.decay_rate = 0.99  # exponential: factor ...
    values.decay_every = 1000  # ... and steps between two factors
    values.power = 0.9  # polynomial: (1 - step / (total_steps + 1))^power
    return values


def checkpoint(
    *, every: int, keep_last: int = 1, keep_every: int = 0, best_metric: str = ""
) -> ConfigDict:
    """Which checkpoints are written and which stay."""
    values = ConfigDict()
    values.every = every  # steps
    values.keep_last = keep_last  # newest checkpoints kept
    values.keep_every = keep_every  # also kept: multiples of so many steps; 0 for none
    # Also kept: where this logged value was lowest, or this measured score highest; "" for none.
    values.best_metric = best_metric
    values.asynchronous = True  # write files while training goes on
    return values


def log() -> ConfigDict:
    """What is told of a run while it goes on."""
    values = ConfigDict()
    values.every = 20  # steps between two lines of metrics.jsonl
    values.tensorboard = True
    return values


def init(*, skip: tuple[str, ...] = (), new: tuple[str, ...] = ()) -> ConfigDict:
    """Which weights a run starts from; patterns are regular expressions for whole paths."""
    values = ConfigDict()
    values.source = ""  # workdir, or one of its checkpoints/<step>; "": from scratch
    values.skip = skip  # paths in that checkpoint to leave out
    values.new = new  # paths in this model that stay as initialised
    values.rename = ()  # "its/prefix=our/prefix"
    return values
