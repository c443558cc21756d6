"""What the loader counts and tells of a sample, whatever the samples are."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable


class Message(NamedTuple):
    """A warning. With `topic`, only the first one of a topic is told; without, every one."""

    text: str
    topic: str = ""


@runtime_checkable
class Report(Protocol):
    """How one sample came about: `counts` are added up over a run, `messages` are warnings."""

    @property
    def counts(self) -> Mapping[str, int]: ...

    @property
    def messages(self) -> tuple[Message, ...]: ...
