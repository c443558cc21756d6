"""What training changes: one immutable pytree."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from fourdc_jax.train.task import Batch, Task


class TrainState(struct.PyTreeNode):
    """Everything a training step reads and replaces.

    Attributes:
      step: int32 [], optimiser steps taken.
      params: trained parameters, float32.
      batch_stats: running statistics of the normalisation layers, {} without any.
      opt_state: state of the optax optimiser.
    """

    step: Any
    params: Any
    batch_stats: Any
    opt_state: Any

    @property
    def variables(self) -> dict[str, Any]:
        """What Flax modules and `Task.loss` take."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def make_state_initializer(
    task: Task, optimizer: optax.GradientTransformation, seed: int
) -> Callable[[Batch], TrainState]:
    """(one device's micro-batch) -> the state at step 0, a function of `seed` and shapes only.

    Under `jax.eval_shape` it tells the state's size before anything is compiled; under `jax.jit`
    the forward pass that Flax traces to learn its shapes is eliminated as dead code.
    """

    def initialize(batch: Batch) -> TrainState:
        variables = task.init(jax.random.key(seed), batch)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=variables["params"],
            batch_stats=variables.get("batch_stats", {}),
            opt_state=optimizer.init(variables["params"]),
        )

    return initialize


def count_bytes(tree: Any) -> int:
    """Bytes of all arrays (or `jax.ShapeDtypeStruct`) of a pytree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def count_parameters(params: Any) -> int:
    """Trained numbers in a pytree."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
