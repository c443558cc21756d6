"""A task: the few functions and values that are all the training loop knows.

`fourdc_jax.train` never imports a model or a dataset. Whoever does (`fourdc_jax.tasks`) hands it
one `Task`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
from flax import struct

Batch = Any  # pytree of arrays with static shapes
Variables = dict[str, Any]  # {"params": pytree, and every collection by its name}
Mean = tuple[Any, Any]  # (sum, count), scalar arrays of one device; divided once, after psum


@struct.dataclass
class StepContext:
    """Where in the training a loss is computed.

    Attributes:
      step: int32 [], optimiser steps taken before this one; what a schedule by step reads.
      rng: a random key, a function of (config.seed, step, micro-batch) alone: the same on all
        devices, and the same when a run resumes. Where devices are to differ, a loss folds in
        `jax.lax.axis_index(axis_name)` itself.
      axis_name: the device axis, for global batch statistics; None on a single device.
      micro_batch: int32 [], which of the step's micro-batches this is. Collections pass from one
        to the next; what changes once a step, such as a momentum encoder, changes in the first.
    """

    step: Any
    rng: Any
    axis_name: str | None = struct.field(pytree_node=False)
    micro_batch: Any = 0


@struct.dataclass
class LossOutput:
    """What one forward pass over one micro-batch on one device returns.

    Attributes:
      terms: loss term -> (sum, count) of this device, before any psum. The sum is differentiated;
        the count carries no gradient. The same names as `Task.weights`.
      collections: name -> pytree that replaces the one in the variables: running statistics
        ("batch_stats"), queues, momentum encoders. All that `Task.init` made, with the same
        shapes, equal on every device ({} without any).
      metrics: what else to log -> (sum, count) of this device. Not differentiated.
      limits: name -> (needed int32[], available int). The run stops where needed > available on
        any device; `Task.hints` says what to set.
    """

    terms: dict[str, Mean]
    collections: Mapping[str, Any]
    metrics: dict[str, Mean] = struct.field(default_factory=dict)
    limits: dict[str, tuple[Any, Any]] = struct.field(default_factory=dict)


@runtime_checkable
class BatchIterator(Protocol):
    """Endless batches with a position that can be saved and restored.

    A batch is a pytree of NumPy arrays with leading axes [local_devices, accumulate, ...].
    """

    def __iter__(self) -> "BatchIterator": ...

    def __next__(self) -> Batch: ...

    def get_state(self) -> Any:
        """Position after the last batch handed out: bytes, or a value that JSON can hold."""
        ...

    def set_state(self, position: Any) -> None:
        """Continue after the batch at which `get_state` returned `position`."""
        ...

    def close(self) -> None:
        """End worker processes and threads."""
        ...


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What is measured on held-out data while training goes on, and after the last step.

    Attributes:
      every: optimiser steps between two evaluations.
      metrics: names of what `run` returns; the higher the better.
      run: (variables) -> metric -> value, equal in every process. Must not change anything.
    """

    every: int
    metrics: tuple[str, ...]
    run: Callable[[Variables], Mapping[str, float]]

    def is_due(self, step: int, total_steps: int) -> bool:
        """Whether it runs after so many optimiser steps."""
        return step == total_steps or step % self.every == 0


@dataclasses.dataclass(frozen=True)
class Alarm:
    """When a logged metric is no longer healthy, and what that means.

    Attributes:
      lowest: the lowest healthy value; the loop warns loudly below it.
      message: what the warning ends with, as in "the features have collapsed".
    """

    lowest: float
    message: str


@dataclasses.dataclass(frozen=True)
class Task:
    """Everything the training loop knows of a model and its data.

    Attributes:
      name: for messages and the summary.
      init: (rng, batch) -> {"params": ..., and every collection}; `batch` is one device's
        micro-batch (no leading axes). Must depend on the batch's shapes only, never on its values.
      loss: (variables, batch, at) -> `LossOutput`, `at` being a `StepContext`. Pure; called inside
        pmap, once per micro-batch.
      weights: loss term -> its weight. total = sum_k weights[k] * psum(sum_k) / psum(count_k).
      batches: (position | None) -> `BatchIterator` of this process, starting after `position`.
      batch_size: samples an optimiser step, over all devices, processes and micro-batches.
      unit: what a sample is called, plural, as in "3.2 sequences/s".
      alarms: metric of the loss -> when to warn.
      hints: limit -> one sentence: what to set where that limit is exceeded.
      frozen: patterns of the paths of parameters that training leaves, such as "encoder_3d/.*".
      evaluations: during training, each in its own rhythm; a checkpoint is written after them. No
        two measure a metric of one name.
      check_source: (config, name) -> None for a run that starts from another: whether that one's
        weights can be taken, by its plain config; raises ValueError with its name if not. Called
        before anything compiles, and not when the run resumes.
      record: what prediction must know besides the config, as JSON values; the loop writes it as
        `<workdir>/<name>.json`, and goes on with no run whose record was another.
      record_free: dotted keys of the record that may change when a run resumes.
      report: (workdir, state, history) -> None; pictures and tables once training has finished, on
        process 0. `history` is the list of metrics.jsonl's lines, as dicts.
    """

    name: str
    init: Callable[[jax.Array, Batch], Variables]
    loss: Callable[[Variables, Batch, StepContext], LossOutput]
    weights: Mapping[str, float]
    batches: Callable[[Any], BatchIterator]
    batch_size: int
    unit: str
    alarms: Mapping[str, Alarm] = dataclasses.field(default_factory=dict)
    hints: Mapping[str, str] = dataclasses.field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    check_source: Callable[[Mapping[str, Any], str], None] | None = None
    record: Mapping[str, Any] | None = None
    record_free: tuple[str, ...] = ()
    report: Callable[[Path, Any, list[dict[str, Any]]], None] | None = None

    @property
    def measured(self) -> tuple[str, ...]:
        """Metrics of all evaluations."""
        return tuple(name for evaluation in self.evaluations for name in evaluation.metrics)
