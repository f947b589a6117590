"""What repair requests mean: which windows, and from which slice of the topic. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from streampipeline.api.spec import Window
from streampipeline.offsets import Found
from streampipeline.requests import RepairRequest
from streampipeline.window_time import align_down, align_up

MOST_WINDOWS_OF_A_KEY = 1000
"""A request of one key for more windows repairs them for every key: equal values, less to remember."""


@dataclass(frozen=True, order=True)
class Starts:
    """Windows by their starts: each multiple of the slide in [first, last], ms."""

    first: int
    last: int


def starts_of(start: int, end: int, window: Window, *, after: int, until: int | None = None) -> Starts | None:
    """Windows that hold an instant of [start, end), end after `after` and by `until`; None: none does."""
    slide, size = window.slide_ms, window.size_ms
    first = max(align_up(start - size + 1, slide), align_up(after - size + 1, slide))
    last = align_down(end - 1, slide)
    if until is not None:
        last = min(last, align_down(until - size, slide))
    return Starts(first, last) if first <= last else None


def is_ready(starts: Starts | None, window: Window, until: int) -> bool:
    """Whether all its windows end at or below `until`: no engine will write them any more."""
    return starts is None or starts.last + window.size_ms <= until


@dataclass(frozen=True)
class Slice:
    """Kafka timestamps [from_t, to_t) that hold every record of some windows, ms."""

    from_t: int
    to_t: int


def slice_of(
    starts: Starts, window: Window, *, max_future_ms: int, max_lateness_ms: int, disorder_ms: int
) -> Slice:
    """A counted record of these windows has T in [first start - maxFuture, last end + maxLateness)."""
    return Slice(
        starts.first - max_future_ms - disorder_ms,
        starts.last + window.size_ms + max_lateness_ms + disorder_ms,
    )


@dataclass
class Cluster:
    """Windows that one pass over the topic repairs."""

    slice: Slice
    every_key: list[Starts] = field(default_factory=list)
    by_key: dict[str, set[int]] = field(default_factory=dict)
    """Key -> window starts."""
    requests: int = 0

    def wanted(self) -> pl.Expr:
        """A filter of windows by `key` and `window_start`."""
        start = pl.col("window_start")
        hit = pl.lit(False)
        for starts in merged(self.every_key):
            hit |= start.is_between(starts.first, starts.last)
        if self.by_key:
            pairs = pl.DataFrame(
                {
                    "key": [key for key, starts in self.by_key.items() for _ in starts],
                    "window_start": [at for starts in self.by_key.values() for at in starts],
                },
                schema={"key": pl.String, "window_start": pl.Int64},
            )
            structs = pairs.select(pl.struct("key", "window_start")).to_series()
            hit |= pl.struct("key", "window_start").is_in(structs.implode())
        return hit


def merged(spans: Iterable[Starts]) -> list[Starts]:
    """The same windows as disjoint spans, in order."""
    result: list[Starts] = []
    for span in sorted(spans):
        if result and span.first <= result[-1].last:
            result[-1] = Starts(result[-1].first, max(result[-1].last, span.last))
        else:
            result.append(span)
    return result


def clusters(
    wanted: Sequence[tuple[RepairRequest, Starts]],
    window: Window,
    *,
    max_future_ms: int,
    max_lateness_ms: int,
    disorder_ms: int,
) -> list[Cluster]:
    """Requests whose slices overlap share one pass; in order of time."""
    result: list[Cluster] = []
    for request, starts in sorted(wanted, key=lambda pair: pair[1]):
        needed = slice_of(
            starts,
            window,
            max_future_ms=max_future_ms,
            max_lateness_ms=max_lateness_ms,
            disorder_ms=disorder_ms,
        )
        if not result or needed.from_t > result[-1].slice.to_t:
            result.append(Cluster(needed))
        cluster = result[-1]
        cluster.slice = Slice(cluster.slice.from_t, max(cluster.slice.to_t, needed.to_t))
        cluster.requests += 1
        count = (starts.last - starts.first) // window.slide_ms + 1
        if request.key is None or count > MOST_WINDOWS_OF_A_KEY:
            cluster.every_key.append(starts)
        else:
            cluster.by_key.setdefault(request.key, set()).update(
                range(starts.first, starts.last + 1, window.slide_ms)
            )
    return result


@dataclass(frozen=True)
class Extent:
    """Offsets [start, end) of one partition that hold a slice."""

    start: int
    end: int


def extents(
    *,
    starts: Mapping[int, Found | None],
    stops: Mapping[int, Found | None],
    ends: Mapping[int, int],
    origin: Mapping[int, int],
) -> dict[int, Extent]:
    """Where a slice lies; `starts`, `stops`: first records at or after its times, `ends`: read before."""
    result = {}
    for partition, end in ends.items():
        start, stop = starts[partition], stops[partition]
        # Looked up after `ends`: what is found may lie behind them.
        last = end if stop is None else min(end, stop.offset)
        first = end if start is None else start.offset
        result[partition] = Extent(max(origin.get(partition, 0), min(first, last)), last)
    return result


def whole_from(
    *,
    firsts: Mapping[int, Found | None],
    log_starts: Mapping[int, int],
    origin: Mapping[int, int],
    retained_since: int | None,
) -> int | None:
    """The Kafka timestamp (ms) from which on slices are whole: retention has not deleted a part of them.

    `firsts`: the first record of each partition that is still kept. An older kept record proves that a slice
    is whole. Of a partition that holds nothing any more only the topic's settings can tell: `retained_since`
    (ms) is how far back age alone deletes; None: they do not tell. Returns None when then no slice is known
    to be whole.
    """
    result = 0
    for partition, log_start in log_starts.items():
        if log_start <= origin.get(partition, 0):
            continue
        first = firsts[partition]
        if first is not None:
            result = max(result, first.t + 1)
        elif retained_since is not None:
            result = max(result, retained_since)
        else:
            return None
    return result
