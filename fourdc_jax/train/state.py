"""What training changes: one immutable pytree."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from fourdc_jax.train.task import Batch, Task, Variables


class TrainState(struct.PyTreeNode):
    """Everything a training step reads and replaces.

    Attributes:
      step: int32 [], optimiser steps taken.
      params: trained parameters, float32.
      collections: name -> pytree that forward passes replace, such as "batch_stats", the running
        statistics of the normalisation layers; {} without any.
      opt_state: state of the optax optimiser.
    """

    step: Any
    params: Any
    collections: dict[str, Any]
    opt_state: Any

    @property
    def variables(self) -> Variables:
        """What Flax modules and `Task.loss` take."""
        return {"params": self.params, **self.collections}

    def with_variables(self, variables: Variables) -> "TrainState":
        """The state with other parameters and collections."""
        params, collections = split_variables(variables)
        return self.replace(params=params, collections=collections)


def make_state_initializer(
    task: Task, optimizer: optax.GradientTransformation, seed: int
) -> Callable[[Batch], TrainState]:
    """(one device's micro-batch) -> the state at step 0, a function of `seed` and shapes only.

    Under `jax.eval_shape` it tells the state's size before anything is compiled; under `jax.jit`
    the forward pass that Flax traces to learn its shapes is eliminated as dead code.
    """

    def initialize(batch: Batch) -> TrainState:
        params, collections = split_variables(task.init(jax.random.key(seed), batch))
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            collections=collections,
            opt_state=optimizer.init(params),
        )

    return initialize


def split_variables(variables: Variables) -> tuple[Any, dict[str, Any]]:
    """The parameters, and the collections by their names."""
    collections = {name: tree for name, tree in variables.items() if name != "params"}
    return variables["params"], collections


def count_bytes(tree: Any) -> int:
    """Bytes of all arrays (or `jax.ShapeDtypeStruct`) of a pytree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def count_parameters(params: Any) -> int:
    """Trained numbers in a pytree."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
