"""The producer itself: records taken when they are due, encoded, made wrong where asked, and sent."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from streampipeline.producer.batch import Batch, Feed, Ints, Source
from streampipeline.producer.encode import encode
from streampipeline.producer.faults import Faults, expected_records, poison_value
from streampipeline.producer.generator import Generator
from streampipeline.producer.sender import Sender
from streampipeline.producer.settings import Clock, ProducerError, Report, Settings
from streampipeline.producer.topic import ready_topic

TICK_SECONDS = 0.1
BULK = 5000
"""Records taken at once when there is no rate."""
SLIP_SECONDS = 1.0
"""A process that is held up longer than this puts its schedule off, instead of sending records late."""


def produce(
    settings: Settings, stop: threading.Event | None = None, started: Callable[[], None] | None = None
) -> Report:
    """Send records until the source, `limit` or `duration` ends or `stop` is set; wait for their delivery.

    `started` is called once the topic is there. Raises ProducerError (see its exit code) when it cannot begin
    or the broker refuses for good; a broker that is away while records are being sent is waited for.
    """
    stop = stop or threading.Event()
    report = Report(settings.topic)
    if settings.clock_used is Clock.RECORDED and settings.data is None and settings.limit is None:
        raise ProducerError("signals from a seed never end: give a limit, or use the live clock")
    with _source(settings, report) as source:
        partitions = ready_topic(settings, stop)
        report.partitions = dict.fromkeys(range(partitions), 0)
        if started is not None:
            started()
        run = _Run(settings, source, partitions, report)
        begin = time.monotonic()
        try:
            run.all(stop)
        finally:
            run.sender.close(settings.flush_seconds)
            report.seconds = round(time.monotonic() - begin, 3)
            report.records_per_second = round(report.records / max(report.seconds, 1e-3), 1)
            report.stopped = stop.is_set()
    return report


@contextmanager
def _source(settings: Settings, report: Report) -> Iterator[Source]:
    if settings.data is None:
        yield Generator(settings.seed, settings.nurses)
        return
    # Polars is needed for recordings only.
    from streampipeline.producer.recording import Recording

    with tempfile.TemporaryDirectory(prefix="streampipeline-producer-") as spool:
        recording = Recording(settings.data, Path(spool), settings.max_gap_seconds)
        report.skipped_rows, report.gaps_shortened = recording.skipped_rows, recording.gaps_shortened
        yield recording


class _Run:
    def __init__(self, settings: Settings, source: Source, partitions: int, report: Report) -> None:
        self.sender = Sender(settings, report)
        self._settings, self._report = settings, report
        self._keys = source.keys
        self._encoded_keys = [key.encode() for key in source.keys]
        self._partitions = partitions
        self._feed = Feed(source, settings.limit)
        expected = expected_records(settings, source.length)
        self._faults = Faults(settings, expected)
        self._poisoned = 0
        self._position = 0
        """Records taken so far."""
        self._live = settings.clock_used is Clock.LIVE
        self._start_ms = time.time_ns() // 1_000_000
        """Event time at the common start."""
        if not self._live:
            end = self._start_ms if settings.end_ms is None else settings.end_ms
            count = min(n for n in (source.length, settings.limit) if n is not None)
            self._start_ms = end - source.span_ms(count)

    def all(self, stop: threading.Event) -> None:
        """Send all records, each when it is due."""
        begin = time.monotonic()
        deadline = begin + (self._settings.duration if self._settings.duration is not None else float("inf"))
        while not stop.is_set():
            now = min(time.monotonic(), deadline)
            count, begin = self._due(begin, now)
            if count and not self._send_up_to(count):
                return
            self.sender.serve()
            if now >= deadline:
                return
            if self._settings.rate is not None:
                stop.wait(min(TICK_SECONDS, max(0.0, deadline - time.monotonic())))

    def _due(self, begin: float, now: float) -> tuple[int, float]:
        """Number of records that are due, and the beginning of the schedule, put off when it was missed."""
        rate = self._settings.rate
        if rate is None:
            return BULK, begin
        behind = now - begin - self._position / rate
        if behind > SLIP_SECONDS:
            slip = behind - TICK_SECONDS
            begin += slip
            self._report.slipped_seconds = round(self._report.slipped_seconds + slip, 3)
            if self._live:
                self._start_ms += round(slip * 1000)
        # The addition: 20 s at 600 records/s are 12,000 records, whatever the rounding of the subtraction.
        return max(0, int((now - begin) * rate + 1e-3) - self._position), begin

    def _send_up_to(self, count: int) -> bool:
        """Send `count` records; False: the source has ended."""
        while count > 0:
            batch = self._feed.take(count)
            if batch is None:
                return False
            self._send(batch)
            count -= len(batch)
        return True

    def _send(self, batch: Batch) -> None:
        start, stop = self._position, self._position + len(batch)
        self._position = stop
        since_start = batch.at
        if self._live:
            since_start = self._due_ms(start, stop)
        timestamps = self._start_ms + since_start
        event_times = timestamps.copy()
        late = [position - start for position in self._faults.late(start, stop)]
        event_times[late] -= round(self._settings.late_seconds * 1000)
        partitions = batch.key % self._partitions
        sent = np.ones(len(batch), dtype=bool)
        for silence in self._settings.silences:
            during = (since_start >= silence.start * 1000) & (since_start < silence.end * 1000)
            sent &= ~((partitions == silence.partition) & during)
        values = encode(self._keys, batch, event_times)
        poison = iter([position - start for position in self._faults.poison(start, stop)])
        next_poison = next(poison, None)
        send, keys, live = self.sender.send, self._encoded_keys, self._live
        for index, (key, partition, timestamp, wanted, value) in enumerate(
            zip(
                batch.key.tolist(),
                partitions.tolist(),
                timestamps.tolist(),
                sent.tolist(),
                values,
                strict=True,
            )
        ):
            while next_poison == index:
                bad = poison_value(value, self._poisoned)
                send(partition, keys[key], bad, 0 if live else timestamp)
                self._poisoned += 1
                next_poison = next(poison, None)
            if wanted:
                send(partition, keys[key], value, 0 if live else timestamp)
        self._count(event_times[sent], len(batch) - int(sent.sum()), int(sent[late].sum()))

    def _due_ms(self, start: int, stop: int) -> Ints:
        """When records `start` to `stop` - 1 are due, in ms since the start; without a rate: now."""
        if self._settings.rate is None:
            now = time.time_ns() // 1_000_000
            return np.full(stop - start, max(0, now - self._start_ms), np.int64)
        due: Ints = (np.arange(start, stop) * (1000 / self._settings.rate)).astype(np.int64)
        return due

    def _count(self, event_times: Ints, silenced: int, late: int) -> None:
        report = self._report
        report.silenced += silenced
        report.late += late
        report.poison = self._poisoned
        if len(event_times):
            first, last = int(event_times.min()), int(event_times.max())
            report.first_event_time = min(first, report.first_event_time or first)
            report.last_event_time = max(last, report.last_event_time or last)
