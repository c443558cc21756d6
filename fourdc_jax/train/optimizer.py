"""Stochastic gradient descent as PyTorch defines it, and the learning rate's course."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


def make_schedule(
    *,
    schedule: str,
    learning_rate: float,
    decay_rate: float,
    decay_every: int,
    power: float,
    total_steps: int,
) -> optax.Schedule:
    """Learning rate as a function of the number of optimiser steps already taken.

    Args:
      schedule: "constant"; "exponential": times `decay_rate` every `decay_every` steps, in stairs
        (the paper's pre-training, section 4: 0.99 every 1000); "polynomial":
        (1 - step / (total_steps + 1))^power (the paper's fine-tuning).
      learning_rate: at step 0.
      decay_rate: factor of "exponential".
      decay_every: steps between two stairs of "exponential".
      power: exponent of "polynomial".
      total_steps: length of the run, for "polynomial".

    Raises:
      ValueError: for an unknown `schedule`.
    """
    match schedule:
        case "constant":
            return optax.constant_schedule(learning_rate)
        case "exponential":
            return optax.exponential_decay(learning_rate, decay_every, decay_rate, staircase=True)
        case "polynomial":
            return optax.polynomial_schedule(learning_rate, 0.0, power, total_steps + 1)
        case _:
            raise ValueError(
                f"config.optimizer.schedule is {schedule!r}; "
                "it must be 'constant', 'exponential' or 'polynomial'"
            )


class MomentumState(NamedTuple):
    """Momentum buffer, and the number of updates it has seen."""

    count: jax.Array
    buffer: Any


def momentum_with_dampening(momentum: float, dampening: float) -> optax.GradientTransformation:
    """buffer = momentum * buffer + (1 - dampening) * gradient; the update is the buffer.

    The first gradient enters the buffer undampened, as in `torch.optim.SGD`. Without dampening this
    is `optax.trace(momentum)`, and without momentum nothing is dampened, as there.
    """
    kept = 1.0 - dampening if momentum else 1.0

    def init(params: Any) -> MomentumState:
        return MomentumState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

    def update(gradients: Any, state: MomentumState, params: Any = None) -> tuple[Any, Any]:
        del params
        share = jnp.where(state.count == 0, 1.0, kept)
        buffer = jax.tree.map(
            lambda b, g: momentum * b + share.astype(g.dtype) * g, state.buffer, gradients
        )
        return buffer, MomentumState(state.count + 1, buffer)

    return optax.GradientTransformation(init, update)


def make_optimizer(
    schedule: optax.Schedule, *, momentum: float, dampening: float, weight_decay: float
) -> optax.GradientTransformation:
    """`torch.optim.SGD`: weight decay joins the gradient of every parameter before the momentum.

    Args:
      schedule: (steps taken) -> learning rate.
      momentum: share of the buffer kept from step to step.
      dampening: share of each new gradient left out (not of the first).
      weight_decay: gradient += weight_decay * parameter; biases and batch-norm scales included.
    """
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        momentum_with_dampening(momentum, dampening),
        optax.scale_by_learning_rate(schedule),
    )
