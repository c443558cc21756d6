"""Reads what the steps report: stops a sick run, logs a healthy one."""

from collections.abc import Mapping
from typing import Any

import jax

from fourdc_jax.train import health
from fourdc_jax.train.progress import Clock, Progress
from fourdc_jax.train.step import StepOutcome
from fourdc_jax.train.task import Task
from fourdc_jax.train.writers import MetricsFile, TensorBoard


class Monitor:
    """Examines every step's outcome once, in order; on the main process it also writes.

    Reading an outcome waits for its step. The loop therefore hands over each outcome after it has
    launched the next step, so that the devices never wait for the host.
    """

    def __init__(
        self,
        task: Task,
        total_steps: int,
        log_every: int,
        writers: list[MetricsFile | TensorBoard],
        progress: Progress | None,
    ):
        """Args:
        task: for its alarms, hints and batch size.
        total_steps: length of the run.
        log_every: steps between two lines; the first and the last step are logged too.
        writers: where lines go; empty on all but the main process.
        progress: None on all but the main process.
        """
        self.values: dict[str, float] = {}  # of the last step examined
        self.alarms = health.Alarms(task.alarms)
        self._task = task
        self._total_steps = total_steps
        self._log_every = log_every
        self._writers = writers
        self._progress = progress
        self._clock = Clock(window=50)

    def examine(self, step: int, outcome: StepOutcome) -> bool:
        """Checks and logs one step.

        Args:
          step: optimiser steps taken, this one included.
          outcome: on the devices.

        Returns:
          Whether a process was asked to stop.

        Raises:
          TrainingStopped: if a limit was exceeded or a value is not finite.
        """
        outcome = jax.device_get(outcome)
        health.check_limits(step, outcome, self._task.hints)
        health.check_finite(step, outcome)
        health.check_equal(step, outcome)
        self._clock.tick()
        self.values = as_floats(outcome)
        logged = step % self._log_every == 0 or step in (1, self._total_steps)
        if self._progress is not None:
            self._show(self._progress, step, outcome, logged)
        if logged:
            self._log(step, outcome)
        return bool(outcome.stop_requests > 0)

    def record(self, step: int, measured: Mapping[str, float]) -> None:
        """Writes what an evaluation after an examined step has measured, as a line of its own."""
        self._clock.restart()
        self.values |= measured
        for writer in self._writers:
            writer.write({"step": step, **measured})
        if self._progress is not None:
            shown = "  ".join(f"{name} {value:.4g}" for name, value in measured.items())
            self._progress.say(f"step {step}  {shown}")

    def _show(self, progress: Progress, step: int, outcome: StepOutcome, logged: bool) -> None:
        """Moves the progress bar."""
        seconds = self._clock.seconds_per_step()
        left = None if seconds is None else seconds * (self._total_steps - step)
        shown = {name: self.values[name] for name in ("total", *outcome.terms)}
        progress.update(step, shown, self._samples_per_second(), left, logged)

    def _log(self, step: int, outcome: StepOutcome) -> None:
        """Writes one line everywhere and sounds the alarms."""
        line: dict[str, Any] = {"step": step, **self.values}
        line["samples_per_second"] = self._samples_per_second()
        for writer in self._writers:
            writer.write(line)
        warnings = self.alarms.warnings(step, self.values)
        warnings += [
            f"step {step}: loss term {name!r} was averaged over nothing"
            for name, count in outcome.counts.items()
            if count == 0
        ]
        if self._progress is not None:
            for warning in warnings:
                self._progress.say(f"WARNING: {warning}")

    def _samples_per_second(self) -> float | None:
        """Over recent steps; None before two steps are done."""
        seconds = self._clock.seconds_per_step()
        return None if seconds is None else self._task.batch_size / seconds

    def close(self) -> None:
        """Closes writers and progress bar."""
        for writer in self._writers:
            writer.close()
        if self._progress is not None:
            self._progress.close()


def as_floats(outcome: StepOutcome) -> dict[str, float]:
    """One flat dict of Python floats: total, terms, metrics, learning rate, gradient norm."""
    named = {"total": outcome.total, **outcome.terms, **outcome.metrics}
    named |= {"learning_rate": outcome.learning_rate, "gradient_norm": outcome.gradient_norm}
    return {name: float(value) for name, value in named.items()}
