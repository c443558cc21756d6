"""When to stop a run, and when to shout: values that are not finite, limits, alarms."""

import math
from collections.abc import Mapping
from typing import Any

from fourdc_jax.train.step import StepOutcome
from fourdc_jax.train.task import Alarm


class TrainingStopped(RuntimeError):
    """The run cannot go on; the message says at which step, why, and what to do."""


def check_limits(step: int, outcome: StepOutcome, hints: Mapping[str, str]) -> None:
    """Raises TrainingStopped where something was needed that did not fit.

    Args:
      step: for the message.
      outcome: on the host.
      hints: limit -> what to set.
    """
    exceeded = [
        f"{name} needed {int(needed)} but has {int(available)}. "
        + hints.get(name, f"Raise the config value that sets {name}.")
        for name, (needed, available) in sorted(outcome.limits.items())
        if needed > available
    ]
    if exceeded:
        raise TrainingStopped(f"step {step}: " + " ".join(exceeded))


def check_finite(step: int, outcome: StepOutcome) -> None:
    """Raises TrainingStopped where a step's terms, gradient or collections are NaN or infinite."""
    values: dict[str, Any] = {f"loss term {name!r}": v for name, v in outcome.terms.items()}
    values |= {"the total loss": outcome.total, "the gradient's norm": outcome.gradient_norm}
    bad = [f"{name} is {float(v)}" for name, v in values.items() if not math.isfinite(v)]
    bad += [
        f"the collection {name!r} is not finite"
        for name, fine in outcome.finite.items()
        if not fine
    ]
    if bad:
        raise TrainingStopped(
            f"step {step}: {', '.join(bad)}. Try a lower config.optimizer.learning_rate, or look "
            f"at the data of this step"
        )


def check_equal(step: int, outcome: StepOutcome) -> None:
    """Raises TrainingStopped where devices do not hold the same collections."""
    different = [name for name, equal in outcome.equal.items() if not equal]
    if different:
        raise TrainingStopped(
            f"step {step}: the collection {different[0]!r} differs between devices: a loss must "
            "return it equal on all, after a psum or an all_gather of what is each one's own"
        )


class Alarms:
    """Watches metrics that must not fall below a value, and counts how often they did."""

    def __init__(self, alarms: Mapping[str, Alarm]):
        self.alarms = dict(alarms)
        self.counts = dict.fromkeys(alarms, 0)  # logged values below the lowest healthy one

    def warnings(self, step: int, metrics: Mapping[str, float]) -> list[str]:
        """One sentence for every watched metric that is too low."""
        messages = []
        for name, alarm in self.alarms.items():
            value = metrics.get(name, math.nan)
            if value < alarm.lowest:
                self.counts[name] += 1
                messages.append(
                    f"step {step}: {name} is {value:.4g}, below {alarm.lowest:.4g}: {alarm.message}"
                )
        return messages
