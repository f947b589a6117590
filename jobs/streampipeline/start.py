"""Where a pipeline begins, and where an engine starts: rules 3, 5 and 12 of docs/design.md.

The functions of the upper half are pure; those of the lower half ask the broker and hand over to them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from streampipeline.api.spec import StartFrom
from streampipeline.jobconfig import EngineName, Origin, PipelineConfig, TimestampType
from streampipeline.kafka import GroupOffsets
from streampipeline.offsets import Found, OffsetLookup
from streampipeline.window_time import align_down

CLOCK_MARGIN_MS = 3_600_000
"""How far this machine's clock may be ahead of the brokers'. A lower origin boundary costs nothing."""


class RetentionPassed(Exception):
    """Retention has deleted records that an engine would have to read."""

    def __init__(self, lost: Mapping[int, int]) -> None:
        super().__init__(lost)
        self.lost = dict(lost)
        """Partition -> offsets that are gone."""

    @property
    def count(self) -> int:
        """How many records are gone."""
        return sum(self.lost.values())

    def __str__(self) -> str:
        return f"{self.count} records were deleted by retention before they were read: {self.lost}"


def clip_to_log(wanted: Mapping[int, int], log_starts: Mapping[int, int]) -> dict[int, int]:
    """`wanted`, unchanged. Raises RetentionPassed when the log starts above any of them."""
    lost = {
        partition: log_starts[partition] - offset
        for partition, offset in wanted.items()
        if log_starts[partition] > offset
    }
    if lost:
        raise RetentionPassed(lost)
    return dict(wanted)


def positions(
    *,
    committed: Mapping[int, int],
    started: Mapping[int, int],
    by_time: Mapping[int, Found | None],
    ends: Mapping[int, int],
    origin: Mapping[int, int],
) -> dict[int, int]:
    """Where an engine starts to read each partition of `ends`.

    `committed`: of the engine that set the frontier; where it has none, it counts from where it `started`; a
    partition it never had is new and is read from its beginning. `by_time`: the first record that may belong
    to an unpublished window; `ends`: read before that look-up.
    """
    result = {}
    for partition, end in ends.items():
        first = origin.get(partition, 0)
        read_to = committed.get(partition, started.get(partition, first))
        found = by_time[partition]
        result[partition] = max(first, min(read_to, end if found is None else found.offset))
    return result


def uncounted(
    firsts: Iterable[Found | None], *, boundary: int, allowed_delay_ms: int, disorder_ms: int
) -> tuple[int, int] | None:
    """The span (ms) whose windows were published without the partitions that begin with `firsts`; None: none.

    Their records are read from the first one on, and yet an engine that starts at `boundary` leaves out the
    windows that end by it: the on-time ones among them are in no value.
    """
    times = [first.t for first in firsts if first is not None]
    start = min(times, default=boundary) - allowed_delay_ms - disorder_ms
    return (max(0, start), boundary) if start < boundary and times else None


def origin_boundary(
    firsts: Iterable[Found | None],
    *,
    now: int,
    allowed_delay_ms: int,
    disorder_ms: int,
    slide_ms: int,
    timestamp_type: TimestampType,
) -> int:
    """W0: every on-time record from the origin on belongs to windows that end after it only.

    `firsts`: the first record of each partition; None where it is still to come. Such a record will have a T
    of about now at least on a LogAppendTime topic, any T on a CreateTime topic.
    """
    found = list(firsts)
    times = [first.t for first in found if first is not None]
    if len(times) < len(found) or not found:
        if timestamp_type is TimestampType.CREATE_TIME:
            return 0
        times.append(now - CLOCK_MARGIN_MS)
    return max(0, align_down(min(times) - allowed_delay_ms - disorder_ms, slide_ms))


def origin(config: PipelineConfig, *, now: int | None = None) -> Origin:
    """The origin of a pipeline that starts now (`now`: ms).

    Raises KeyError when the topic does not exist, confluent_kafka.KafkaException when the broker does not
    answer.
    """
    lookup = OffsetLookup(config)
    kafka = config.spec.source.kafka
    partitions = lookup.partitions()
    ends = lookup.stable_ends(partitions)
    firsts: dict[int, Found | None]
    if kafka.start_from is StartFrom.LATEST:
        offsets, firsts = ends, dict.fromkeys(partitions)
    elif kafka.start_from is StartFrom.TIMESTAMP:
        firsts = lookup.first_at(kafka.start_timestamp or 0, partitions)
        offsets = {p: ends[p] if first is None else first.offset for p, first in firsts.items()}
    else:
        offsets, firsts = lookup.log_starts(partitions), lookup.first_at(0, partitions)
    return Origin(
        boundary=origin_boundary(
            firsts.values(),
            now=time.time_ns() // 1_000_000 if now is None else now,
            allowed_delay_ms=config.spec.source.event_time.allowed_delay_seconds * 1000,
            disorder_ms=config.disorder_ms,
            slide_ms=config.spec.window.slide_ms,
            timestamp_type=config.timestamp_type,
        ),
        offsets=offsets,
    )


def start_offsets(
    config: PipelineConfig,
    origin: Origin,
    *,
    frontier: int,
    set_by: EngineName | None,
    started: Mapping[int, int],
) -> dict[int, int]:
    """Offsets for an engine that starts at the boundary `frontier` (ms), for every partition there is now.

    `set_by`: the engine that set the frontier, `started`: the offsets of its assignment; None and the
    origin's offsets when none did yet. Raises RetentionPassed, KeyError (no such topic),
    confluent_kafka.KafkaException.
    """
    lookup = OffsetLookup(config)
    partitions = lookup.partitions()
    ends = lookup.stable_ends(partitions)
    future = config.spec.source.event_time.max_future_seconds * 1000
    needed_from = frontier - config.spec.window.size_ms - future - config.disorder_ms
    wanted = positions(
        committed=committed_offsets(config, set_by, partitions) if set_by else {},
        started=started,
        by_time=lookup.first_at(needed_from, partitions),
        ends=ends,
        origin=origin.offsets,
    )
    return clip_to_log(wanted, lookup.log_starts(partitions))


def uncounted_of(config: PipelineConfig, new: list[int], boundary: int) -> tuple[int, int] | None:
    """See `uncounted`; `new`: partitions that the engine that set the frontier `boundary` (ms) did not have.

    Raises confluent_kafka.KafkaException.
    """
    return uncounted(
        OffsetLookup(config).first_at(0, new).values(),
        boundary=boundary,
        allowed_delay_ms=config.spec.source.event_time.allowed_delay_seconds * 1000,
        disorder_ms=config.disorder_ms,
    )


def published_without(config: PipelineConfig, known: Iterable[int]) -> tuple[int, int] | None:
    """The span (ms) of windows that an engine that reads only the partitions `known` may have written by now.

    None: the topic has no other. Raises KeyError (no such topic), confluent_kafka.KafkaException.
    """
    lookup = OffsetLookup(config)
    partitions = lookup.partitions()
    new = sorted(set(partitions) - set(known))
    if not new:
        return None
    newest = max((found.t for found in lookup.newest(partitions).values() if found), default=0)
    closed = newest - config.spec.source.event_time.allowed_delay_seconds * 1000 - config.disorder_ms
    return uncounted_of(config, new, align_down(max(0, closed), config.spec.window.slide_ms))


def committed_offsets(config: PipelineConfig, engine: EngineName, partitions: list[int]) -> dict[int, int]:
    """Source offsets that an engine has committed; a partition without any is missing.

    Raises confluent_kafka.KafkaException.
    """
    group = GroupOffsets(config, config.group(engine))
    try:
        return group.committed(config.spec.source.kafka.topic, partitions)
    finally:
        group.close()
