"""Pre-training: 4DContrast's model and losses on sequences of moving objects (section 3)."""

from collections.abc import Callable
from functools import partial

from ml_collections import ConfigDict

from fourdc_jax.data.sequences.from_config import DataParams, choose_capacity, open_samples
from fourdc_jax.data.sequences.samples import NetworkInputs
from fourdc_jax.data.sequences.sequence import SequenceParams
from fourdc_jax.models.backbone import STRIDE_3D, level_strides, stride_4d
from fourdc_jax.models.contrast import ContrastParams, FourDContrast, make_contrast
from fourdc_jax.params import read_params
from fourdc_jax.tasks.pretrain.methods import Method, choose_alarms, choose_method, watch
from fourdc_jax.tasks.pretrain.report import draw_report
from fourdc_jax.tasks.shared.assemble import (
    explain_limits,
    initialize,
    make_loader_params,
    open_batches,
)
from fourdc_jax.train.parallel import split_batch
from fourdc_jax.train.task import Batch, LossOutput, StepContext, Task, Variables


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
    method = choose_method(plain["loss"])
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
        with_4d=method.with_4d,
        stride_time=data.voxels.stride_time,
        implementation=config.implementation,
    )
    make_model(axis_name=None)  # a network that cannot be is told before anything compiles
    return Task(
        name="pretrain",
        init=partial(initialize, make_model),
        loss=partial(compute_loss, make_model, method),
        weights=method.weights,
        batches=partial(open_batches, maker.with_capacity(capacity), loader),
        batch_size=config.batch_size,
        unit="sequences",
        alarms=choose_alarms(
            model.features, method.with_4d, config.log.collapse_fraction, config.log.collapse_rank
        ),
        hints=explain_limits(capacity.rows_3d, "3d") | explain_limits(capacity.rows_4d, "4d"),
        report=partial(draw_report, make_model(axis_name=None), maker, plain),
    )


def compute_loss(
    make_model: Callable[..., FourDContrast],
    method: Method,
    variables: Variables,
    batch: Batch,
    at: StepContext,
) -> LossOutput:
    """Both networks on one micro-batch, the method's terms and what to watch."""
    model = make_model(axis_name=at.axis_name)
    output, collections = model.apply(variables, batch, train=True, mutable=["batch_stats"])
    return LossOutput(
        terms=method.terms(output, at),
        collections=collections,
        metrics=watch(output, at.axis_name),
        limits=dict(output.limits),
    )
