"""Fine-tuning for semantic segmentation: a pre-trained U-Net on labelled scenes (section 4.1)."""

from collections.abc import Callable
from functools import partial

from ml_collections import ConfigDict

from fourdc_jax.data.label_sets import IGNORE_LABEL
from fourdc_jax.data.scenes.from_config import choose_capacity, open_data
from fourdc_jax.data.sources.labelled import LabelledScans
from fourdc_jax.losses.segmentation import accuracy, cross_entropy
from fourdc_jax.models.backbone import STRIDE_3D, level_strides
from fourdc_jax.models.segmenter import Segmenter
from fourdc_jax.tasks.segmentation.inference import NAME, Inference
from fourdc_jax.tasks.segmentation.params import read_segmentation_params
from fourdc_jax.tasks.segmentation.report import draw_report
from fourdc_jax.tasks.segmentation.scores import METRICS, add, evaluate_scenes, summarize
from fourdc_jax.tasks.shared.assemble import (
    explain_limits,
    initialize,
    make_loader_params,
    open_batches,
)
from fourdc_jax.tasks.shared.backbone import check_backbone, check_frozen
from fourdc_jax.tasks.shared.record import FREE, SceneRecord
from fourdc_jax.tasks.shared.validation import check_validation, evaluate_shares
from fourdc_jax.train import parallel
from fourdc_jax.train.task import Batch, Evaluation, LossOutput, StepContext, Task, Variables


def create_task(config: ConfigDict) -> Task:
    """Everything that `configs/segmentation.py` describes, ready for the training loop.

    Opens the data and, unless the config gives it, measures the capacity that the data need.

    Raises:
      FileNotFoundError, ValueError: what the config asks for does not exist or does not fit.
    """
    plain = config.to_dict()
    micro_batch = parallel.split_batch(config.batch_size, config.accumulate)
    params = read_segmentation_params(plain)
    if params.model.freeze_backbone:
        check_frozen(config.init)
    data = open_data(params.data, level_strides(STRIDE_3D), config.seed)
    check_validation(data.validation, params.data.voxels.features)
    rows = choose_capacity(params.data.capacity, data.training, micro_batch)
    make_model = partial(params.make_model, len(data.classes), rows)
    make_model(axis_name=None)  # a network that cannot be is told before anything compiles
    loader = make_loader_params(
        batch=micro_batch,
        accumulate=config.accumulate,
        num_workers=params.data.num_workers,
        prefetch=params.data.prefetch,
    )
    record = SceneRecord(params.data.classes.label_set, data.classes, rows)
    inference = Inference(params, record, params.eval.max_rows or None, params.eval.rotations)
    return Task(
        name=NAME,
        init=partial(initialize, make_model),
        loss=partial(compute_loss, make_model),
        weights={"loss": 1.0},
        batches=partial(open_batches, data.training.with_capacity(rows), loader),
        batch_size=config.batch_size,
        unit="scenes",
        hints=explain_limits(rows),
        frozen=("encoder_3d/.*",) if params.model.freeze_backbone else (),
        evaluations=(
            Evaluation(params.eval.every, METRICS, partial(evaluate, inference, data.validation)),
        ),
        check_source=partial(
            check_backbone, params.model.network_3d, params.data.voxels, config.init
        ),
        record=record.as_values(),
        record_free=FREE,
        report=partial(draw_report, inference, data.validation, plain),
    )


def compute_loss(
    make_model: Callable[..., Segmenter],
    variables: Variables,
    batch: Batch,
    at: StepContext,
) -> LossOutput:
    """Cross-entropy and accuracy over the labelled voxels of one micro-batch."""
    model = make_model(axis_name=at.axis_name)
    output, collections = model.apply(variables, batch, train=True, mutable=["batch_stats"])
    logits, labels = output.logits, batch.labels
    return LossOutput(
        terms={"loss": cross_entropy(logits, labels, IGNORE_LABEL)},
        collections=collections,
        metrics={"accuracy": accuracy(logits, labels, IGNORE_LABEL)},
        limits=dict(output.limits),
    )


def evaluate(inference: Inference, scans: LabelledScans, variables: Variables) -> dict[str, float]:
    """Scores over all validation scenes, whole; each process takes its share of them.

    Raises:
      ValueError: no voxel has a class, or a scene cannot be evaluated; in every process alike.
    """
    predict = partial(inference.predict, parallel.local_copy(variables))
    voxels, num_classes = inference.params.data.voxels, len(inference.record.classes)
    confusions = evaluate_shares(
        scans, lambda scenes: evaluate_scenes(predict, scenes, voxels, num_classes)
    )
    return summarize(add(confusions))
