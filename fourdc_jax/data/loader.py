"""Batches for training: shuffled, sharded, made by worker processes ahead of time, resumable.

The only file that knows grain.
"""

import signal
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import grain
import numpy as np
from absl import flags, logging

from fourdc_jax.data.sequences.samples import Rejection


@runtime_checkable
class Report(Protocol):
    """How one sample came about; the fields of `SampleReport`, whatever the samples are."""

    rejections: tuple[Rejection, ...]
    discarded: int
    kept: float
    subject: str


@runtime_checkable
class Maker(Protocol):
    """Makes the samples of an epoch and joins them into batches; picklable for worker processes.

    `sampling.seed` decides the order of the samples. What a sample, and its capacity, is, only the
    maker knows.
    """

    sampling: Any

    def __len__(self) -> int: ...

    def make_sample(self, epoch: int, index: int, capacity: Any) -> Any: ...

    def join(
        self, samples: list[Any], capacity: Any, in_channels: int
    ) -> tuple[dict[str, np.ndarray], tuple[Report, ...]]: ...


@dataclass(frozen=True)
class LoaderParams:
    """Shape of the batches and who makes them.

    batch: samples in a micro-batch, which one device takes at a time.
    local_devices, accumulate: leading axes of a batch: devices of this process, and
      micro-batches of each in an optimiser step.
    in_channels: feature channels.
    process_index, process_count: this process takes every process_count-th sample.
    num_workers: processes that make batches; 0 makes them in a thread of this one.
    prefetch: micro-batches each of them keeps ready.
    """

    batch: int
    local_devices: int
    accumulate: int
    in_channels: int
    process_index: int
    process_count: int
    num_workers: int
    prefetch: int


@dataclass
class LoaderStatistics:
    """Counts over the samples delivered so far.

    rejected: (scan, shape) pairs without a sequence, replaced by the next pair.
    discarded: draws that kept too few points.
    cropped: samples that were cut to the capacity.
    """

    samples: int = 0
    rejected: int = 0
    discarded: int = 0
    cropped: int = 0

    @property
    def rejection_rate(self) -> float:
        """Share of the tried (scan, shape) pairs that gave no sequence."""
        return self.rejected / max(self.rejected + self.samples, 1)

    @property
    def discard_rate(self) -> float:
        """Share of the drawn sequences that kept too few points."""
        return self.discarded / max(self.discarded + self.samples, 1)


class Batches(Iterator[dict[str, np.ndarray]]):
    """Endless batches with leading axes [local_devices, accumulate].

    Every epoch is shuffled anew and augmented anew. A batch is a function of the configuration
    and its number alone: neither the number of workers nor that of processes changes the
    sequences of an optimiser step, and the position is that one number.
    """

    def __init__(self, maker: Maker, capacity: Any, params: LoaderParams) -> None:
        """`capacity` is what the maker takes: that of one sequence, or of a batch of scenes."""
        self.statistics = LoaderStatistics()
        self._maker, self._capacity, self._params = maker, capacity, params
        self._step = 0
        self._micro_batches = None
        self._reported: set[str] = set()

    def __next__(self) -> dict[str, np.ndarray]:
        if self._micro_batches is None:
            self._micro_batches = self._open()
        params = self._params
        count = params.local_devices * params.accumulate
        parts, reports = zip(*(next(self._micro_batches) for _ in range(count)))
        for report in (report for part in reports for report in part):
            self._record(report)
        self._step += 1
        lead = (params.local_devices, params.accumulate)
        return {
            key: np.stack([part[key] for part in parts]).reshape(lead + parts[0][key].shape)
            for key in parts[0]
        }

    def get_state(self) -> dict[str, Any]:
        """The position, as plain values for JSON: of batches delivered, not of those prefetched."""
        return {"step": self._step, "statistics": asdict(self.statistics)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues after the batch at which `get_state` was called, whatever came since."""
        self.close()
        self._step = int(state["step"])
        self.statistics = LoaderStatistics(**state["statistics"])

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
            .shuffle(seed=self._maker.sampling.seed)
            .repeat(None)  # shuffles every epoch differently
            .map_with_index(_Numbered(length))[params.process_index :: params.process_count]
            .map(_MakeSample(self._maker, self._capacity))
            .batch(  # no remainder in an endless stream; without dropping it, lengths are floats
                params.batch,
                drop_remainder=True,
                batch_fn=_Join(self._maker, self._capacity, params.in_channels),
            )
        )
        start = self._step * params.local_devices * params.accumulate
        threads = grain.ReadOptions(num_threads=1, prefetch_buffer_size=params.prefetch)
        dataset = micro_batches[start:].to_iter_dataset(threads)
        if params.num_workers:
            workers = grain.MultiprocessingOptions(params.num_workers, params.prefetch)
            dataset = dataset.mp_prefetch(workers, worker_init_fn=_leave_interrupts_to_training)
        return iter(dataset)

    def _record(self, report: Report) -> None:
        self.statistics.samples += 1
        self.statistics.rejected += len(report.rejections)
        self.statistics.discarded += report.discarded
        self.statistics.cropped += report.kept < 1
        for rejection in report.rejections:
            if rejection.scan not in self._reported:
                self._reported.add(rejection.scan)
                logging.warning(
                    "scan %r gives no sequence with shape %r: %s; replaced by the next pair "
                    "(more of this scan are only counted)",
                    rejection.scan,
                    rejection.shape,
                    rejection.reason,
                )
        if report.kept < 1:
            logging.warning(
                "%s is larger than the capacity: cropped to %.0f%% of the scan",
                report.subject,
                100 * report.kept,
            )


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
    capacity: Any

    def __call__(self, number: tuple[int, int]) -> Any:
        return self.maker.make_sample(*number, self.capacity)


@dataclass(frozen=True)
class _Join:
    maker: Maker
    capacity: Any
    in_channels: int

    def __call__(self, samples: list[Any]) -> tuple[dict[str, np.ndarray], tuple[Report, ...]]:
        return self.maker.join(samples, self.capacity, self.in_channels)
