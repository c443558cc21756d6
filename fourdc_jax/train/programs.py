"""A task's training as programs: what initialises a state and what steps it, on all devices."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from fourdc_jax.train import parallel
from fourdc_jax.train.optimizer import make_adam, make_schedule, make_sgd
from fourdc_jax.train.state import TrainState, make_state_initializer
from fourdc_jax.train.step import StepOutcome, make_train_step
from fourdc_jax.train.task import Batch, Task


@dataclasses.dataclass(frozen=True)
class Program:
    """What the training loop runs; benchmarks and tests run the same.

    Attributes:
      schedule: (optimiser steps taken) -> learning rate.
      optimizer: follows the schedule.
      initialize: (one device's micro-batch) -> the state at step 0, see `make_state_initializer`.
      mapped: (state, batch, seed, stop) -> (state, outcome), see `parallel.parallelize`.
      seed: uint32 [], of the steps' random keys.
      devices: on which it steps; None for all.
    """

    schedule: optax.Schedule
    optimizer: optax.GradientTransformation
    initialize: Callable[[Batch], TrainState]
    mapped: Callable[..., tuple[TrainState, StepOutcome]]
    seed: np.uint32
    devices: Sequence[jax.Device] | None = None

    def step(
        self, state: TrainState, batch: Batch, stop: bool = False
    ) -> tuple[TrainState, StepOutcome]:
        """One optimiser step; the state that went in is gone afterwards.

        Args:
          state: without a device axis.
          batch: [local devices, accumulate, ...].
          stop: whether this process was asked to stop.
        """
        return self.mapped(state, batch, self.seed, parallel.on_every_device(stop, self.devices))

    def compile(self, state: TrainState, batch: Batch) -> "Program":
        """The same, its step compiled for such a state and batch."""
        stop = parallel.on_every_device(False, self.devices)
        compiled = self.mapped.lower(state, batch, self.seed, stop).compile()
        return dataclasses.replace(self, mapped=compiled)


def program(task: Task, config: ConfigDict, devices: Sequence[jax.Device] | None = None) -> Program:
    """The programs of a task's training.

    Args:
      task: gives the loss and what initialises its variables.
      config: seed, total_steps and optimizer are read.
      devices: on which to step; None for all.

    Raises:
      ValueError: an optimiser or a schedule that does not exist.
    """
    schedule, optimizer = make_optimization(config)
    return Program(
        schedule,
        optimizer,
        make_state_initializer(task, optimizer, config.seed),
        parallel.parallelize(make_train_step(task, optimizer, schedule, parallel.AXIS), devices),
        np.uint32(config.seed % 2**32),
        devices,
    )


def make_optimization(
    config: ConfigDict,
) -> tuple[optax.Schedule, optax.GradientTransformation]:
    """The learning rate's course and the optimiser that follows it."""
    values = config.optimizer
    schedule = make_schedule(
        schedule=values.schedule,
        learning_rate=values.learning_rate,
        decay_rate=values.decay_rate,
        decay_every=values.decay_every,
        power=values.power,
        total_steps=config.total_steps,
    )
    match values.kind:
        case "sgd":
            names, make = ("momentum", "dampening", "weight_decay"), make_sgd
        case "adam":
            names, make = ("b1", "b2", "epsilon", "weight_decay"), make_adam
        case _:
            raise ValueError(
                f"config.optimizer.kind is {values.kind!r}; it must be 'sgd' or 'adam'"
            )
    return schedule, make(schedule, **{name: values[name] for name in names})
