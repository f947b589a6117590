"""Latency of a pipeline: now - T of the record that made the oldest unpublished window closable. Pure.

A window that ends at `end` is closable once each partition that is waited for has a record with Kafka
timestamp T >= end + allowedDelay + disorder: the watermark, min over partitions of (newest T - disorder -
allowedDelay - 1 ms), has then reached end - 1 ms (docs/design.md, Exactness and Decisions). The record that
closes it is the last of these first records; while one is missing nothing is closable and latency is zero, so
a silent source is not a slow engine.

A probe asks Kafka twice for "the first record with T >= x" in each partition (offsets for times), and reads
only these records' timestamps:

1. x = `first_query(frontier)`. The earliest answer points at the oldest unpublished window that has records:
   `candidate_end`. An on-time record with T >= frontier + allowedDelay has its event time at or after the
   frontier, so no published window is taken for an unpublished one. Records in the allowedDelay before it may
   lie in the candidate's predecessor, which is then missed: latency is a lower bound.
2. x = `closing_query(end)`. The answers, with each partition's newest T, give `latency_ms`.

The same from an engine's own frontier gives the engine's latency. All times are ms, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streampipeline.api.spec import StreamPipelineSpec


@dataclass(frozen=True)
class WindowClock:
    """What of the spec decides when a window closes."""

    size_ms: int
    slide_ms: int
    delay_ms: int
    disorder_ms: int
    idle_ms: int

    @classmethod
    def of(cls, spec: StreamPipelineSpec, disorder_ms: int) -> WindowClock:
        """`disorder_ms` is `JobConfig.disorder_ms`: it depends on the topic's timestamp type."""
        time = spec.source.event_time
        return cls(
            size_ms=spec.window.size_ms,
            slide_ms=spec.window.slide_ms,
            delay_ms=time.allowed_delay_seconds * 1000,
            disorder_ms=disorder_ms,
            idle_ms=time.idle_partition_seconds * 1000,
        )

    @property
    def lag_ms(self) -> int:
        """How far the clock stays behind the newest T."""
        return self.delay_ms + self.disorder_ms


def first_query(frontier: int, clock: WindowClock) -> int:
    """The T to ask for: records from it on lie in windows that end after `frontier`, if they are on time."""
    return frontier + clock.lag_ms


def candidate_end(first_ts: Mapping[int, int | None], frontier: int, clock: WindowClock) -> int | None:
    """End of the oldest window after `frontier` that the records found may lie in; None: there are none.

    `first_ts`: for each partition T of its first record with T >= `first_query(frontier)`, None without one.
    """
    found = [t for t in first_ts.values() if t is not None]
    if not found:
        return None
    earliest = max(frontier, min(found) - clock.lag_ms)
    return _first_end_after(earliest, clock)


def _first_end_after(time: int, clock: WindowClock) -> int:
    """The smallest k * slide + size above `time`."""
    steps = (time - clock.size_ms) // clock.slide_ms + 1
    return steps * clock.slide_ms + clock.size_ms


def closing_query(end: int, clock: WindowClock) -> int:
    """The T to ask for: with such a record in each partition, a window that ends at `end` is closable."""
    return end + clock.lag_ms


def closable_at(
    closing_ts: Mapping[int, int | None], newest_ts: Mapping[int, int | None], clock: WindowClock
) -> int | None:
    """T of the record that made the window closable; None: it is not closable yet.

    `closing_ts`: for each partition T of its first record with T >= `closing_query(end)`, None without one.
    `newest_ts`: T of each partition's newest record, None when it is empty. A partition whose newest record
    is `idle_ms` older than the newest of all is not waited for from that moment of the others' clock on.
    """
    newest = max((t for t in newest_ts.values() if t is not None), default=None)
    if newest is None or all(t is None for t in closing_ts.values()):
        return None
    moments = []
    for partition, closing in closing_ts.items():
        own = newest_ts.get(partition)
        if closing is not None:
            moments.append(closing)
        elif own is not None:
            idle_from = own + clock.idle_ms
            if newest < idle_from:
                return None
            moments.append(idle_from)
    return max(moments)


def latency_ms(
    closing_ts: Mapping[int, int | None], newest_ts: Mapping[int, int | None], now: int, clock: WindowClock
) -> int:
    """Latency of the candidate window; 0 when it is not closable (see `closable_at` for the arguments)."""
    moment = closable_at(closing_ts, newest_ts, clock)
    return 0 if moment is None else max(0, now - moment)
