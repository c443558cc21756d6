"""Batches for training: shuffled, sharded, made by worker processes ahead of time, resumable.

The only file that knows grain.
"""

import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import grain
import numpy as np
from absl import flags, logging

from fourdc_jax.data.report import Report


@runtime_checkable
class Maker(Protocol):
    """Makes the samples of an epoch and joins them into batches; picklable for worker processes.

    `seed` decides the order of the samples. What a sample is, and how large a batch, only the maker
    knows. A batch is an array, or a NamedTuple of batches.
    """

    @property
    def seed(self) -> int: ...

    def __len__(self) -> int: ...

    def make_sample(self, epoch: int, index: int) -> Any: ...

    def join(self, samples: list[Any]) -> tuple[Any, tuple[Report, ...]]: ...


@dataclass(frozen=True)
class LoaderParams:
    """Shape of the batches and who makes them.

    batch: samples in a micro-batch, which one device takes at a time.
    local_devices, accumulate: leading axes of a batch: devices of this process, and
      micro-batches of each in an optimiser step.
    process_index, process_count: this process takes every process_count-th sample.
    num_workers: processes that make batches; 0 makes them in a thread of this one.
    prefetch: micro-batches each of them keeps ready.
    """

    batch: int
    local_devices: int
    accumulate: int
    process_index: int
    process_count: int
    num_workers: int
    prefetch: int


class Batches(Iterator[Any]):
    """Endless batches with leading axes [local_devices, accumulate].

    Every epoch is shuffled anew and augmented anew. A batch is a function of the configuration
    and its number alone: neither the number of workers nor that of processes changes the
    samples of an optimiser step, and the position is that one number.

    Attributes:
      statistics: counts over the delivered samples: "samples", and those of their reports.
    """

    def __init__(self, maker: Maker, params: LoaderParams) -> None:
        self.statistics: Counter[str] = Counter(samples=0)
        self._maker, self._params = maker, params
        self._step = 0
        self._micro_batches = None
        self._told: set[str] = set()

    def __next__(self) -> Any:
        if self._micro_batches is None:
            self._micro_batches = self._open()
        params = self._params
        count = params.local_devices * params.accumulate
        parts, reports = zip(*(next(self._micro_batches) for _ in range(count)))
        for report in (report for part in reports for report in part):
            self._record(report)
        self._step += 1
        return stack(parts, (params.local_devices, params.accumulate))

    def get_state(self) -> dict[str, Any]:
        """The position, as plain values for JSON: of batches delivered, not of those prefetched."""
        return {"step": self._step, "statistics": dict(self.statistics)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues after the batch at which `get_state` was called, whatever came since."""
        self.close()
        self._step = int(state["step"])
        self.statistics = Counter(state["statistics"])

    def close(self) -> None:
        """Ends the worker processes; the next batch starts new ones."""
        if self._micro_batches is not None:
            self._micro_batches.close()
        self._micro_batches = None

    def _open(self) -> Any:
        params = self._params
        length = len(self._maker)
        if not flags.FLAGS.is_parsed():  # grain reads flags, also where no absl.app parsed them
            flags.FLAGS.mark_as_parsed()
        micro_batches = (
            grain.MapDataset.range(length)
            .shuffle(seed=self._maker.seed)
            .repeat(None)  # shuffles every epoch differently
            .map_with_index(_Numbered(length))[params.process_index :: params.process_count]
            .map(_MakeSample(self._maker))
            # No remainder in an endless stream; without dropping it, lengths are floats.
            .batch(params.batch, drop_remainder=True, batch_fn=self._maker.join)
        )
        start = self._step * params.local_devices * params.accumulate
        threads = grain.ReadOptions(num_threads=1, prefetch_buffer_size=params.prefetch)
        dataset = micro_batches[start:].to_iter_dataset(threads)
        if params.num_workers:
            workers = grain.MultiprocessingOptions(params.num_workers, params.prefetch)
            dataset = dataset.mp_prefetch(workers, worker_init_fn=_leave_interrupts_to_training)
        return iter(dataset)

    def _record(self, report: Report) -> None:
        self.statistics["samples"] += 1
        self.statistics.update(report.counts)
        for text, topic in report.messages:
            if topic not in self._told:
                logging.warning("%s", text)
            if topic:
                self._told.add(topic)


def stack(parts: Sequence[Any], lead: tuple[int, ...]) -> Any:
    """Micro-batches of one structure as one, with the leading axes `lead` instead of a list."""
    if isinstance(parts[0], tuple):
        return type(parts[0])(*(stack(column, lead) for column in zip(*parts)))
    return np.stack(parts).reshape(lead + parts[0].shape)


def _leave_interrupts_to_training(index: int, count: int) -> None:
    """Ctrl-C reaches every process of a terminal; the training process saves and ends workers."""
    del index, count
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@dataclass(frozen=True)
class _Numbered:
    """(epoch, index) of a position in the endless shuffled stream."""

    length: int

    def __call__(self, position: int, index: int) -> tuple[int, int]:
        return position // self.length, int(index)


@dataclass(frozen=True)
class _MakeSample:
    maker: Maker

    def __call__(self, number: tuple[int, int]) -> Any:
        return self.maker.make_sample(*number)
