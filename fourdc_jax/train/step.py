"""One optimiser step on one device of many: gradients, accumulation, update.

Exactness across devices. With global batch statistics every device's loss depends on every device's
samples, through psums inside the forward pass. Each device differentiates only its own share

    share = sum_k weight_k * local_sum_k / psum(count_k)        (sum of shares = the loss)

and the transpose of psum is psum, so the gradient of the whole loss is psum(grad(share)), exactly.

Accumulation. A step may see several micro-batches in turn. Its gradient is the mean of theirs, its
terms are the mean of theirs, and each divides by its own counts and normalises with its own batch
statistics: `accumulate` trades memory for smaller normalisation batches and is part of the method.
Running statistics are updated by every micro-batch in turn.
"""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct, traverse_util

from fourdc_jax.train import metrics
from fourdc_jax.train.state import TrainState
from fourdc_jax.train.task import Batch, LossOutput, Task


@struct.dataclass
class StepOutcome:
    """What a step tells the host; scalars, equal on all devices.

    Attributes:
      total: weighted sum of the terms, float32.
      terms: term -> its mean.
      counts: term -> what it was averaged over, all micro-batches together.
      metrics: metric -> its mean over all micro-batches, NaN where nothing was counted.
      limits: limit -> (needed, available), needed being the most of any device and micro-batch.
      learning_rate: used in this step.
      gradient_norm: Euclidean norm of the whole gradient, before weight decay.
      statistics_finite: whether all running statistics are finite.
      stop_requests: devices whose process was asked to stop.
    """

    total: Any
    terms: dict[str, Any]
    counts: dict[str, Any]
    metrics: dict[str, Any]
    limits: dict[str, tuple[Any, Any]]
    learning_rate: Any
    gradient_norm: Any
    statistics_finite: Any
    stop_requests: Any


def make_train_step(
    task: Task, optimizer: optax.GradientTransformation, schedule: optax.Schedule, axis_name: str
) -> Callable[[TrainState, Batch, jax.Array], tuple[TrainState, StepOutcome]]:
    """(state, batch of one device [accumulate, ...], stop int32 []) -> (state, outcome); pure.

    Args:
      task: gives the loss and its weights.
      optimizer: built from `schedule`.
      schedule: only for telling the learning rate.
      axis_name: of the mapped device axis.
    """

    def train_step(
        state: TrainState, batch: Batch, stop: jax.Array
    ) -> tuple[TrainState, StepOutcome]:
        gradients, batch_stats, seen = accumulate_gradients(task, state, batch, axis_name)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        updates = freeze(updates, task.frozen)
        terms = {name: value.mean() for name, value in seen["terms"].items()}
        outcome = StepOutcome(
            total=weigh(task, terms),
            terms=terms,
            counts={name: value.sum() for name, value in seen["counts"].items()},
            metrics=metrics.divide(seen["metrics"]),
            limits=jax.tree.map(jnp.max, seen["limits"]),
            learning_rate=jnp.asarray(schedule(state.step), jnp.float32),
            gradient_norm=optax.tree.norm(gradients),
            statistics_finite=all_finite(batch_stats),
            stop_requests=jax.lax.psum(stop, axis_name),
        )
        state = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        return state, outcome

    return train_step


def accumulate_gradients(
    task: Task, state: TrainState, batch: Batch, axis_name: str
) -> tuple[Any, Any, dict[str, Any]]:
    """Gradient over all devices and micro-batches, running statistics, and what was seen.

    Returns:
      gradients like `state.params`; batch_stats; {"terms", "counts", "metrics", "limits"} with a
      leading axis [accumulate] on every value.
    """
    accumulate = jax.tree.leaves(batch)[0].shape[0]

    def micro_step(carry: tuple[Any, Any], micro_batch: Batch) -> tuple[Any, dict[str, Any]]:
        batch_stats, gradients = carry
        gradient = jax.grad(functools.partial(loss_share, task, axis_name), has_aux=True)
        micro_gradients, (batch_stats, seen) = gradient(state.params, batch_stats, micro_batch)
        gradients = jax.tree.map(jnp.add, gradients, micro_gradients)
        return (batch_stats, gradients), seen

    zeros = jax.tree.map(jnp.zeros_like, state.params)
    (batch_stats, gradients), seen = jax.lax.scan(
        micro_step,
        (state.batch_stats, zeros),
        batch,
        unroll=0 if accumulate == 1 else 1,  # 0 unrolls: a single micro-batch needs no loop
    )
    gradients = jax.tree.map(lambda g: jax.lax.psum(g, axis_name) / accumulate, gradients)
    return gradients, batch_stats, seen


def loss_share(
    task: Task, axis_name: str, params: Any, batch_stats: Any, batch: Batch
) -> tuple[jax.Array, tuple[Any, dict[str, Any]]]:
    """This device's share of one micro-batch's loss; all devices' shares add up to it."""
    variables = {"params": params, "batch_stats": batch_stats}
    output = task.loss(variables, batch, axis_name)
    check_names(task, output)
    counts = metrics.global_counts(output.terms, axis_name)
    shares = metrics.local_shares(output.terms, counts)
    seen = {
        "terms": jax.lax.psum(jax.lax.stop_gradient(shares), axis_name),
        "counts": counts,
        "metrics": metrics.global_sums(jax.lax.stop_gradient(output.metrics), axis_name),
        "limits": {
            name: (jax.lax.pmax(needed, axis_name), jnp.asarray(available, jnp.int32))
            for name, (needed, available) in output.limits.items()
        },
    }
    return weigh(task, shares), (output.batch_stats, seen)


def weigh(task: Task, terms: dict[str, jax.Array]) -> jax.Array:
    """sum_k weight_k * term_k, float32 []."""
    return sum((task.weights[name] * terms[name] for name in terms), jnp.zeros((), jnp.float32))


def freeze(updates: Any, patterns: Sequence[str]) -> Any:
    """The updates, 0 where a pattern fits the whole path: weight decay moves what has no gradient.

    Raises:
      ValueError: a pattern fits no parameter.
    """
    flat = traverse_util.flatten_dict(updates, sep="/")
    for pattern in patterns:
        fitting = [path for path in flat if re.fullmatch(pattern, path)]
        if not fitting:
            raise ValueError(f"no parameter fits {pattern!r}, which is to be frozen")
        flat |= {path: jnp.zeros_like(flat[path]) for path in fitting}
    return traverse_util.unflatten_dict(flat, sep="/") if patterns else updates


def check_names(task: Task, output: LossOutput) -> None:
    """Raises ValueError unless terms and weights agree and no name is used twice."""
    if set(output.terms) != set(task.weights):
        raise ValueError(
            f"task {task.name!r} returns the loss terms {sorted(output.terms)} "
            f"but has weights for {sorted(task.weights)}"
        )
    reserved = {"step", "total", "learning_rate", "gradient_norm", "samples_per_second"}
    names = set(output.terms)
    twice = (names & set(output.metrics)) | (reserved & (names | set(output.metrics)))
    if twice:
        raise ValueError(f"task {task.name!r}: the names {sorted(twice)} are taken")
    unknown = set(task.alarms) - set(output.metrics)
    if unknown:
        raise ValueError(f"task {task.name!r} has alarms for {sorted(unknown)}, not its metrics")


def all_finite(tree: Any) -> jax.Array:
    """bool []: whether no array of a pytree holds NaN or infinity."""
    leaves = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]
    return jnp.stack(leaves).all() if leaves else jnp.asarray(True)
