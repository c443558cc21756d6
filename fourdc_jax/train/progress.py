"""What a person sees while a run goes on: a bar in a terminal, plain lines in a log file."""

import datetime
import sys
import time
from collections import deque
from collections.abc import Mapping

from tqdm import tqdm


class Clock:
    """Seconds a step, averaged over recent steps."""

    def __init__(self, window: int):
        """Args: window: steps to average over."""
        self._ticks: deque[float] = deque(maxlen=window + 1)

    def tick(self) -> None:
        """A step has finished. The first tick starts the clock: compilation is not counted."""
        self._ticks.append(time.monotonic())

    def restart(self) -> None:
        """Something else than a step is being done; the next tick starts the clock again."""
        self._ticks.clear()

    def seconds_per_step(self) -> float | None:
        """None before the second tick."""
        if len(self._ticks) < 2:
            return None
        return (self._ticks[-1] - self._ticks[0]) / (len(self._ticks) - 1)


class Progress:
    """Step, loss terms, speed and time left, on stderr."""

    def __init__(self, first_step: int, total_steps: int, unit: str):
        """Args: unit: what a batch consists of, plural, for the speed."""
        self.total_steps = total_steps
        self.unit = unit
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(initial=first_step, total=total_steps, dynamic_ncols=True, unit="step")

    def update(
        self,
        step: int,
        values: Mapping[str, float],
        rate: float | None,
        seconds_left: float | None,
        logged: bool,
    ) -> None:
        """Tells of one finished step.

        Args:
          step: optimiser steps taken.
          values: the total loss and its terms.
          rate: units a second.
          seconds_left: estimate.
          logged: whether this is a step for log files.
        """
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        speed = "" if rate is None else f"  {rate:.3g} {self.unit}/s"
        if self._bar is not None:
            self._bar.set_postfix_str(shown + speed, refresh=False)
            self._bar.update(step - self._bar.n)
        elif logged:
            left = "" if seconds_left is None else f"  {format_seconds(seconds_left)} left"
            self.say(f"step {step}/{self.total_steps}  {shown}{speed}{left}")

    def say(self, message: str) -> None:
        """Prints a line without tearing the bar."""
        tqdm.write(message, file=sys.stderr)

    def close(self) -> None:
        """Leaves the bar where it stands."""
        if self._bar is not None:
            self._bar.close()


def format_seconds(seconds: float | int) -> str:
    """1 day, 2:03:04."""
    return str(datetime.timedelta(seconds=round(seconds)))
