"""Backfill: a user's request to have windows recomputed. What it costs, asking for it, what came of it.

The request is one of the repairs topic; the repair (`repair.py`) does it and notes in the journal what it
did.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Message
from pydantic import Field

from streampipeline.api.spec import Model
from streampipeline.api.status import moment
from streampipeline.jobconfig import JobConfig, TimestampType
from streampipeline.journal import Journal
from streampipeline.kafka import producer
from streampipeline.offsets import Found, OffsetLookup
from streampipeline.progress import ProgressReader
from streampipeline.repair_plan import extents, slice_of, starts_of
from streampipeline.requests import PARTITION, RepairReason, RepairRequest
from streampipeline.topics import TIMEOUT_SECONDS

PREFIX = "backfill/"
MOST_WINDOWS = 20_000
"""Of each key: a day of windows of 5 s is 17,280."""
MOST_RECORDS = 5_000_000
"""Other repairs wait while they are read."""
POLL_SECONDS = 2.0


class Done(Model):
    """What the repair did for one backfill."""

    start: int = Field(validation_alias="from", serialization_alias="from")
    end: int = Field(validation_alias="to", serialization_alias="to")
    """Ms, UTC."""
    windows: int
    """Written anew: those of [start, end) that hold a record."""
    records: int
    """Read."""
    seconds: float
    cut: bool
    """Windows were left as they are: retention has deleted records that they may have held."""
    unscorable: bool = False
    """Windows were left as they are: the model of their generation does not answer any more."""


@dataclass(frozen=True)
class Cost:
    """What a backfill will cost."""

    windows: int
    """Of each key."""
    records: int
    """To be read, of every key."""


class BackfillRefused(Exception):
    """The windows cannot be recomputed, or it would cost more than was agreed to; the message says which."""


def key_of(offset: int) -> str:
    """Key in the journal of the backfill whose request stands at `offset` of the repairs topic."""
    return f"{PREFIX}{offset}"


def check(config: JobConfig, start: int, end: int, *, costly: bool) -> Cost:
    """What recomputing the windows that hold an instant of [start, end) (ms) costs.

    `costly`: the user agrees to whatever that is. Raises BackfillRefused, confluent_kafka.KafkaException.
    """
    if end <= start:
        raise BackfillRefused("the span is empty: it ends before it begins")
    if end > time.time_ns() // 1_000_000:
        raise BackfillRefused("the span ends in the future")
    spec, window = config.spec, config.spec.window
    starts = starts_of(start, end, window, after=config.origin.boundary)
    if starts is None:
        raise BackfillRefused(
            f"no window of the span ends after the pipeline's origin, {_time(config.origin.boundary)}"
        )
    frontier = _frontier(config)
    if frontier is None or starts.last + window.size_ms > frontier:
        written = "nothing is written yet" if frontier is None else f"the frontier is {_time(frontier)}"
        raise BackfillRefused(
            f"the last window of the span is not written yet ({written}): its engine will do so"
        )
    times = spec.source.event_time
    needed = slice_of(
        starts,
        window,
        max_future_ms=times.max_future_seconds * 1000,
        max_lateness_ms=times.max_lateness_seconds * 1000,
        disorder_ms=config.disorder_ms,
    )
    lookup = OffsetLookup(config)
    partitions = lookup.partitions()
    ends = lookup.stable_ends(partitions)
    stops: dict[int, Found | None] = dict.fromkeys(partitions)
    if config.timestamp_type is TimestampType.LOG_APPEND_TIME:
        stops = lookup.first_at(needed.to_t, partitions)
    found = extents(
        starts=lookup.first_at(needed.from_t, partitions),
        stops=stops,
        ends=ends,
        origin=config.origin.offsets,
    )
    cost = Cost(
        windows=(starts.last - starts.first) // window.slide_ms + 1,
        records=sum(extent.end - extent.start for extent in found.values()),
    )
    if not costly and (cost.windows > MOST_WINDOWS or cost.records > MOST_RECORDS):
        raise BackfillRefused(
            f"{cost.windows:,} windows of each key and {cost.records:,} records to read are more than "
            f"{MOST_WINDOWS:,} and {MOST_RECORDS:,}, and other repairs wait meanwhile: "
            "ask for a shorter span, or agree to the cost (--yes)"
        )
    return cost


def ask(config: JobConfig, start: int, end: int, key: str | None = None) -> int:
    """Append the request. Returns its offset in the repairs topic; asking twice only repairs twice.

    Raises ValueError when the span is empty, confluent_kafka.KafkaException.
    """
    request = RepairRequest(reason=RepairReason.BACKFILL, key=key, start=start, end=end)
    client = producer(config, {"message.timeout.ms": round(TIMEOUT_SECONDS * 1000)})
    replies: list[int | KafkaError] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        offset = message.offset()
        replies.append(error if error is not None else offset if offset is not None else -1)

    client.produce(config.repairs_topic, value=request.encode(), partition=PARTITION, on_delivery=delivered)
    client.flush(TIMEOUT_SECONDS + 5)
    reply = replies[0] if replies else KafkaError(KafkaError._TIMED_OUT)
    if isinstance(reply, KafkaError):
        raise KafkaException(reply)
    return reply


def wait(
    config: JobConfig, offset: int, seconds: float, should_stop: Callable[[], bool] = lambda: False
) -> Done | None:
    """What came of the request at `offset`; None: not done within `seconds`. Raises what `scan` raises."""
    journal = Journal(config)
    deadline = time.monotonic() + seconds
    while True:
        for name, value in journal.read(key_of(offset)):
            if name == "":
                return Done.model_validate_json(value)
        if time.monotonic() >= deadline or should_stop():
            return None
        time.sleep(POLL_SECONDS)


def _frontier(config: JobConfig) -> int | None:
    reader = ProgressReader(config)
    try:
        if not reader.settle(TIMEOUT_SECONDS):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return reader.frontier(config.assignment.generation)
    finally:
        reader.close()


def _time(ms: int) -> str:
    return f"{moment(ms):%Y-%m-%dT%H:%M:%SZ}"
