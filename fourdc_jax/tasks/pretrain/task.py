"""Pre-training: 4DContrast's model and losses on sequences of moving objects (section 3)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from ml_collections import ConfigDict

from fourdc_jax.data.sequences.capacity import Capacity
from fourdc_jax.data.sequences.from_config import DataParams, choose_capacity, open_samples
from fourdc_jax.data.sequences.samples import NetworkInputs
from fourdc_jax.data.sequences.sequence import SequenceParams
from fourdc_jax.losses.simsiam import (
    Reduction,
    StopGradient,
    cross_network_loss,
    feature_rank,
    feature_std,
    frame_pair_loss,
)
from fourdc_jax.losses.term import Term
from fourdc_jax.models.backbone import STRIDE_3D, level_strides, stride_4d
from fourdc_jax.models.contrast import (
    ContrastOutput,
    ContrastParams,
    FourDContrast,
    TrackFeatures,
    make_contrast,
)
from fourdc_jax.params import read_params
from fourdc_jax.tasks.pretrain.report import draw_report
from fourdc_jax.tasks.shared.assemble import (
    initialize,
    make_loader_params,
    open_batches,
)
from fourdc_jax.train.parallel import split_batch
from fourdc_jax.train.task import Alarm, Batch, LossOutput, StepContext, Task, Variables

COLLAPSED = "COLLAPSE? the features no longer tell points apart,"


@dataclass(frozen=True)
class LossParams:
    """Equation 9: the weights of its three terms, and what the paper leaves open about them.

    weight_3d, weight_3d4d, weight_4d: 0 leaves the term out, and the 4D network with the last.
    reduction: what the printed sums are divided by, see `fourdc_jax.losses.simsiam.Reduction`.
    stop_gradient_3d4d: the constant side of equation 5, see `StopGradient` there.
    """

    weight_3d: float
    weight_3d4d: float
    weight_4d: float
    reduction: Reduction
    stop_gradient_3d4d: StopGradient

    @property
    def weights(self) -> dict[str, float]:
        """The terms that are on."""
        weights = {
            "loss_3d": self.weight_3d,
            "loss_3d4d": self.weight_3d4d,
            "loss_4d": self.weight_4d,
        }
        return {name: weight for name, weight in weights.items() if weight != 0}

    @property
    def with_4d(self) -> bool:
        """Whether any term needs the 4D network."""
        return self.weight_3d4d != 0 or self.weight_4d != 0


def create_task(config: ConfigDict) -> Task:
    """Everything that `configs/pretrain.py` describes, ready for the training loop.

    Opens the data and, unless the config gives it, measures the capacity that the data need.

    Raises:
      FileNotFoundError, ValueError: what the config asks for does not exist or does not fit.
    """
    plain = config.to_dict()
    micro_batch = split_batch(config.batch_size, config.accumulate)
    in_channels = plain["model"].pop("in_channels")
    model = read_params(ContrastParams, plain["model"], "config.model")
    loss = read_params(LossParams, plain["loss"], "config.loss")
    check_loss(loss)
    data = read_params(DataParams, plain["data"], "config.data")
    sequence = read_params(SequenceParams, plain["sequence"], "config.sequence")
    inputs = NetworkInputs(
        level_strides(STRIDE_3D), level_strides(stride_4d(data.voxels.stride_time)), in_channels
    )
    maker = open_samples(data, sequence, inputs, config.seed)
    capacity = choose_capacity(data.capacity, maker, micro_batch)
    loader = make_loader_params(
        batch=micro_batch,
        accumulate=config.accumulate,
        num_workers=data.num_workers,
        prefetch=data.prefetch,
    )
    make_model = partial(
        make_contrast,
        model,
        capacity.rows_3d,
        capacity.rows_4d,
        with_4d=loss.with_4d,
        stride_time=data.voxels.stride_time,
        implementation=config.implementation,
    )
    make_model(axis_name=None)  # a network that cannot be is told before anything compiles
    return Task(
        name="pretrain",
        init=partial(initialize, make_model),
        loss=partial(compute_loss, make_model, loss),
        weights=loss.weights,
        batches=partial(open_batches, maker.with_capacity(capacity), loader),
        batch_size=config.batch_size,
        unit="sequences",
        alarms=choose_alarms(loss, model.features, config.log),
        hints=explain_limits(capacity),
        report=partial(draw_report, make_model(axis_name=None), maker, plain),
    )


def check_loss(loss: LossParams) -> None:
    """Raises ValueError where the weights are negative or leave the 3D encoder untrained."""
    if min(loss.weight_3d, loss.weight_3d4d, loss.weight_4d) < 0:
        raise ValueError(
            f"config.loss: the weights {loss.weight_3d}, {loss.weight_3d4d} and {loss.weight_4d} "
            "must not be negative."
        )
    if loss.weight_3d == 0 and loss.weight_3d4d == 0:
        raise ValueError(
            "config.loss: with weight_3d and weight_3d4d both 0 nothing trains the 3D encoder; "
            "give one of them a weight."
        )


def compute_loss(
    make_model: Callable[..., FourDContrast],
    params: LossParams,
    variables: Variables,
    batch: Batch,
    at: StepContext,
) -> LossOutput:
    """Both networks on one micro-batch, the terms of equation 9 and what to watch."""
    model = make_model(axis_name=at.axis_name)
    output, collections = model.apply(variables, batch, train=True, mutable=["batch_stats"])
    metrics = {}
    for name, features in (("3d", output.features_3d), ("4d", output.features_4d)):
        if features is not None:
            metrics |= watch_features(name, features, at.axis_name)
    return LossOutput(
        terms=compute_terms(params, output),
        collections=collections,
        metrics=metrics,
        limits=dict(output.limits),
    )


def compute_terms(params: LossParams, output: ContrastOutput) -> dict[str, Term]:
    """The terms that are on, each a (sum, count) pair of this device."""
    in_3d, in_4d = output.features_3d, output.features_4d
    terms = {}
    if params.weight_3d:
        terms["loss_3d"] = frame_pair_loss(*in_3d, params.reduction)
    if params.weight_3d4d:
        present = in_3d.present & in_4d.present
        features = (in_3d.p, in_3d.z, in_4d.p, in_4d.z, present)
        options = (params.reduction, params.stop_gradient_3d4d)
        terms["loss_3d4d"] = cross_network_loss(*features, *options)
    if params.weight_4d:
        terms["loss_4d"] = frame_pair_loss(*in_4d, params.reduction)
    return terms


def watch_features(name: str, features: TrackFeatures, axis_name: str | None) -> dict[str, Term]:
    """The projections' spread and rank, and their cosine between the frames of a track.

    Learning shows as a cosine near 1 while the spread stays near 1 / sqrt(c) and the rank well
    above 1. A spread near 0 is the collapse to a point, a rank near 1 that to a line.
    """
    negative = frame_pair_loss(features.z, features.z, features.present, "pairs")
    return {
        f"feature_std_{name}": feature_std(features.z, features.present, axis_name),
        f"feature_rank_{name}": feature_rank(features.z, features.present, axis_name),
        f"cosine_{name}": Term(-negative.sum, negative.count),
    }


def choose_alarms(loss: LossParams, features: int, log: ConfigDict) -> dict[str, Alarm]:
    """Lowest healthy spread and rank of each network's projections of so many channels.

    SimSiam's collapse shows as a standard deviation of the L2-normalised features near 0 instead of
    1 / sqrt(d) (Chen and He, Exploring Simple Siamese Representation Learning, 2021, section 4.1);
    features that fill one direction only have a healthy spread, and a rank near 1.
    """
    point = Alarm(log.collapse_fraction / features**0.5, f"{COLLAPSED} they lie near one point")
    line = Alarm(log.collapse_rank, f"{COLLAPSED} they lie near one line")
    networks = ("3d", "4d") if loss.with_4d else ("3d",)
    return {
        f"feature_{what}_{name}": alarm
        for name in networks
        for what, alarm in (("std", point), ("rank", line))
    }


def explain_limits(capacity: Capacity) -> Mapping[str, str]:
    """What to set where a limit is exceeded, by the limit's name."""
    hints = {}
    for name, rows in (("3d", capacity.rows_3d), ("4d", capacity.rows_4d)):
        hints[f"duplicate_coordinates_{name}"] = (
            f"The {name.upper()} coords of a batch must be unique: voxelise before batching."
        )
        for level in range(1, len(rows)):
            hints[f"rows_level_{level}_{name}"] = (
                f"Raise config.data.capacity.margin, or give config.data.capacity.rows_{name} with "
                f"more than {rows[level]} rows a micro-batch at level {level}."
            )
    return hints
