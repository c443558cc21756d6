"""SIGTERM and Ctrl-C: finish the step, save, leave."""

import signal
import sys
import threading
from types import FrameType


class Interrupt:
    """A context in which the first SIGTERM or SIGINT only sets `requested`.

    A second one acts as usual. Outside the main thread, where Python allows no handlers, signals
    keep their usual meaning.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.requested = True
        self._restore()
        name = signal.Signals(number).name
        print(f"\n{name}: saving after this step; once more to quit at once", file=sys.stderr)

    def _restore(self) -> None:
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)
