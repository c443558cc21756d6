"""When to stop a run, and when to shout: values that are not finite, limits, collapse."""

import math
from collections.abc import Mapping
from typing import Any

from fourdc_jax.train.step import StepOutcome


class TrainingStopped(RuntimeError):
    """The run cannot go on; the message says at which step, why, and what to do."""


def check_limits(step: int, outcome: StepOutcome, remedies: Mapping[str, str]) -> None:
    """Raises TrainingStopped where something was needed that did not fit.

    Args:
      step: for the message.
      outcome: on the host.
      remedies: limit -> what to set.
    """
    exceeded = [
        f"{name} needed {int(needed)} but has {int(available)}. "
        + remedies.get(name, f"Raise the config value that sets {name}.")
        for name, (needed, available) in sorted(outcome.limits.items())
        if needed > available
    ]
    if exceeded:
        raise TrainingStopped(f"step {step}: " + " ".join(exceeded))


def check_finite(step: int, outcome: StepOutcome) -> None:
    """Raises TrainingStopped where a step's terms, gradient or statistics are NaN or infinite."""
    values: dict[str, Any] = {f"loss term {name!r}": v for name, v in outcome.terms.items()}
    values |= {"the total loss": outcome.total, "the gradient's norm": outcome.gradient_norm}
    bad = [f"{name} is {float(v)}" for name, v in values.items() if not math.isfinite(v)]
    if not outcome.statistics_finite:
        bad.append("the running batch statistics are not finite")
    if bad:
        raise TrainingStopped(
            f"step {step}: {', '.join(bad)}. Try a lower config.optimizer.learning_rate, or look "
            f"at the data of this step"
        )


class Alarms:
    """Watches metrics that must not fall below a value, such as the features' spread and rank.

    SimSiam's collapse shows as a standard deviation of the L2-normalised features near 0 instead of
    1 / sqrt(d) (Chen and He, Exploring Simple Siamese Representation Learning, 2021, section 4.1);
    features that fill one direction only have a healthy spread, and a rank near 1.
    """

    def __init__(self, thresholds: Mapping[str, float]):
        self.thresholds = dict(thresholds)
        self.counts = dict.fromkeys(thresholds, 0)  # logged values below the threshold

    def warnings(self, step: int, metrics: Mapping[str, float]) -> list[str]:
        """One sentence for every watched metric that is below its threshold."""
        messages = []
        for name, threshold in self.thresholds.items():
            value = metrics.get(name, math.nan)
            if value < threshold:
                self.counts[name] += 1
                messages.append(
                    f"COLLAPSE? step {step}: {name} is {value:.4g}, below {threshold:.4g}: "
                    "features no longer tell points apart"
                )
        return messages
