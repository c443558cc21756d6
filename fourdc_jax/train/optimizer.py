"""SGD and AdamW as PyTorch defines them, and the learning rate's course."""

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


def make_sgd(
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


class AdamState(NamedTuple):
    """Running means of the gradient and of its square, and the number of updates they have seen."""

    count: jax.Array
    mean: Any
    square: Any


def scale_by_adam(b1: float, b2: float, epsilon: float) -> optax.GradientTransformation:
    """Kingma and Ba, Adam, 2015, algorithm 1, without the learning rate.

    As `optax.scale_by_adam`, which mixes floats and integers where JAX is told to be strict.
    """

    def init(params: Any) -> AdamState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return AdamState(jnp.zeros((), jnp.int32), zeros, zeros)

    def update(gradients: Any, state: AdamState, params: Any = None) -> tuple[Any, AdamState]:
        del params
        count = state.count + 1
        mean = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mean, gradients)
        square = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.square, gradients)
        seen = count.astype(jnp.float32)
        share_1, share_2 = 1 - b1**seen, 1 - b2**seen  # the means started at 0
        updates = jax.tree.map(
            lambda m, v: (m / share_1) / (jnp.sqrt(v / share_2) + epsilon), mean, square
        )
        return updates, AdamState(count, mean, square)

    return optax.GradientTransformation(init, update)


def make_adam(
    schedule: optax.Schedule, *, b1: float, b2: float, epsilon: float, weight_decay: float
) -> optax.GradientTransformation:
    """`torch.optim.AdamW`: Adam, with a weight decay that is decoupled from the gradient.

    Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019, algorithm 2; as in PyTorch
    the decay is multiplied by the learning rate. Without it this is `torch.optim.Adam`.

    Args:
      schedule: (steps taken) -> learning rate.
      b1, b2: decay of the running means of the gradient and of its square.
      epsilon: added to the root of the latter.
      weight_decay: parameter -= rate * weight_decay * parameter; biases and batch-norm scales
        included.
    """
    return optax.chain(
        scale_by_adam(b1, b2, epsilon),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_learning_rate(schedule),
    )
