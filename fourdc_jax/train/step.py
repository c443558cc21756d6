"""One optimiser step on one device of many: gradients, accumulation, update.

Exactness across devices. With global batch statistics every device's loss depends on every device's
samples, through psums inside the forward pass. Each device differentiates only its own share

    share = sum_k weight_k * local_sum_k / psum(count_k)        (sum of shares = the loss)

and the transpose of psum is psum, so the gradient of the whole loss is psum(grad(share)), exactly.

Accumulation. A step may see several micro-batches in turn. Its gradient is the mean of theirs, its
terms are the mean of theirs, and each divides by its own counts and normalises with its own batch
statistics: `accumulate` trades memory for smaller normalisation batches and is part of the method.
Collections (running statistics, queues) are replaced by every micro-batch in turn.
"""

import functools
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct, traverse_util

from fourdc_jax.train import metrics
from fourdc_jax.train.state import TrainState
from fourdc_jax.train.task import Batch, LossOutput, StepContext, Task

STEPS = 0x57E9  # the steps' random numbers, apart from those of initialisation


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
      finite: collection -> whether it holds no NaN and no infinity.
      equal: collection -> whether all devices have the same, of which the first one's is kept.
      stop_requests: devices whose process was asked to stop.
    """

    total: Any
    terms: dict[str, Any]
    counts: dict[str, Any]
    metrics: dict[str, Any]
    limits: dict[str, tuple[Any, Any]]
    learning_rate: Any
    gradient_norm: Any
    finite: dict[str, Any]
    equal: dict[str, Any]
    stop_requests: Any


def make_train_step(
    task: Task, optimizer: optax.GradientTransformation, schedule: optax.Schedule, axis_name: str
) -> Callable[[TrainState, Batch, jax.Array, jax.Array], tuple[TrainState, StepOutcome]]:
    """(state, batch of one device [accumulate, ...], seed, stop) -> (state, outcome); pure.

    The seed, uint32 [], is an argument so that runs of several seeds share a compiled program;
    stop, int32 [], is this device's request to stop.

    Args:
      task: gives the loss and its weights.
      optimizer: built from `schedule`.
      schedule: only for telling the learning rate.
      axis_name: of the mapped device axis.
    """

    def train_step(
        state: TrainState, batch: Batch, seed: jax.Array, stop: jax.Array
    ) -> tuple[TrainState, StepOutcome]:
        gradients, collections, seen = accumulate_gradients(task, state, batch, seed, axis_name)
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
            finite={name: all_finite(tree) for name, tree in collections.items()},
            equal={name: all_equal(tree, axis_name) for name, tree in collections.items()},
            stop_requests=jax.lax.psum(stop, axis_name),
        )
        state = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            collections=collections,
            opt_state=opt_state,
        )
        return state, outcome

    return train_step


def accumulate_gradients(
    task: Task, state: TrainState, batch: Batch, seed: jax.Array, axis_name: str
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Gradient over all devices and micro-batches, collections after them, and what was seen.

    Returns:
      gradients like `state.params`; collections like the state's; {"terms", "counts", "metrics",
      "limits"} with a leading axis [accumulate] on every value.
    """
    accumulate = jax.tree.leaves(batch)[0].shape[0]
    rng = step_rng(seed, state.step)

    def micro_step(carry: tuple[Any, Any], numbered: tuple[Any, Batch]) -> tuple[Any, Any]:
        (collections, gradients), (index, micro_batch) = carry, numbered
        at = StepContext(state.step, jax.random.fold_in(rng, index), axis_name, index)
        gradient = jax.grad(functools.partial(loss_share, task, at), has_aux=True)
        micro_gradients, (collections, seen) = gradient(state.params, collections, micro_batch)
        gradients = jax.tree.map(jnp.add, gradients, micro_gradients)
        return (collections, gradients), seen

    zeros = jax.tree.map(jnp.zeros_like, state.params)
    (collections, gradients), seen = jax.lax.scan(
        micro_step,
        (state.collections, zeros),
        (jnp.arange(accumulate, dtype=jnp.int32), batch),
        unroll=0 if accumulate == 1 else 1,  # 0 unrolls: a single micro-batch needs no loop
    )
    gradients = jax.tree.map(lambda g: jax.lax.psum(g, axis_name) / accumulate, gradients)
    return gradients, collections, seen


def step_rng(seed: jax.Array, step: jax.Array) -> jax.Array:
    """The random key of one optimiser step."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), STEPS), step)


def loss_share(
    task: Task, at: StepContext, params: Any, collections: dict[str, Any], batch: Batch
) -> tuple[jax.Array, tuple[dict[str, Any], dict[str, Any]]]:
    """This device's share of one micro-batch's loss; all devices' shares add up to it."""
    output = task.loss({"params": params, **collections}, batch, at)
    check_names(task, output, collections)
    counts = metrics.global_counts(output.terms, at.axis_name)
    shares = metrics.local_shares(output.terms, counts)
    seen = {
        "terms": jax.lax.psum(jax.lax.stop_gradient(shares), at.axis_name),
        "counts": counts,
        "metrics": metrics.global_sums(jax.lax.stop_gradient(output.metrics), at.axis_name),
        "limits": {
            name: (jax.lax.pmax(needed, at.axis_name), jnp.asarray(available, jnp.int32))
            for name, (needed, available) in output.limits.items()
        },
    }
    return weigh(task, shares), (dict(output.collections), seen)


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


def check_names(task: Task, output: LossOutput, collections: Collection[str]) -> None:
    """Raises ValueError unless names agree with the task's, and none is used twice."""
    if set(output.collections) != set(collections):
        raise ValueError(
            f"task {task.name!r} returns the collections {sorted(output.collections)} "
            f"but was initialised with {sorted(collections)}"
        )
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


def all_equal(tree: Any, axis_name: str) -> jax.Array:
    """bool []: whether all devices hold the same arrays, by sums of their bits."""
    sums = [add_bits(leaf) for leaf in jax.tree.leaves(tree)]
    if not sums:
        return jnp.asarray(True)
    sums = jnp.stack(sums)  # (leaves,)
    return (jax.lax.pmax(sums, axis_name) == jax.lax.pmin(sums, axis_name)).all()


def add_bits(leaf: jax.Array) -> jax.Array:
    """uint32 []: the sum of an array's elements as unsigned integers, modulo 2^32."""
    if leaf.dtype != jnp.bool_:
        leaf = jax.lax.bitcast_convert_type(leaf, f"uint{8 * leaf.dtype.itemsize}")
    return jnp.sum(leaf.astype(jnp.uint32), dtype=jnp.uint32)
