"""One look at what Kafka knows of a pipeline: partitions, progress, latency, lag, repairs, dead letters."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from streampipeline.broker_clock import BrokerClock
from streampipeline.jobconfig import EngineName, PipelineConfig, TimestampType
from streampipeline.kafka import GroupOffsets
from streampipeline.latency import (
    WindowClock,
    candidate_end,
    closing_query,
    first_query,
    latency_ms,
)
from streampipeline.offsets import OffsetLookup
from streampipeline.progress import ProgressKey, ProgressReader, ProgressRow

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class PipelineLook:
    """Times in ms, UTC. `latency`: by frontier, for each frontier that was asked for."""

    partitions: tuple[int, ...] = ()
    ends: Mapping[int, int] = field(default_factory=dict)
    progress: Mapping[ProgressKey, ProgressRow] = field(default_factory=dict)
    written: Mapping[EngineName, int] = field(default_factory=dict)
    """Windows written by each engine, as its progress rows said since this reader began."""
    latency: Mapping[int, int] = field(default_factory=dict)
    lag: Mapping[EngineName, int] = field(default_factory=dict)
    """Records after the committed offsets, of engines that have committed any."""
    committed: Mapping[EngineName, Mapping[int, int]] = field(default_factory=dict)
    """Offsets of the source topic that each engine has committed."""
    repairs_pending: int = 0
    dead_letters: int = 0
    """Messages in the dead-letter topic (at least once: some may stand there twice)."""
    newest_t: int | None = None
    """The newest Kafka timestamp of the source topic."""


class PipelineProbe:
    """Not thread-safe. Every method raises confluent_kafka.KafkaException when the broker does not answer."""

    def __init__(self, config: PipelineConfig) -> None:
        self._config = config
        self._source = OffsetLookup(config)
        self._repairs = OffsetLookup(config, config.repairs_topic)
        self._dead_letters = OffsetLookup(config, config.spec.dead_letter.topic)
        self._groups = {engine: GroupOffsets(config, config.group(engine)) for engine in EngineName}
        self._clock = WindowClock.of(config.spec, config.disorder_ms)
        self._progress: ProgressReader | None = None
        self._brokers = BrokerClock()

    def look(self, frontiers: Iterable[int]) -> PipelineLook:
        """`frontiers`: those for which a latency is wanted, besides that of the newest progress."""
        rows = self._reader().poll()
        partitions = self._source.partitions()
        ends = self._source.stable_ends(partitions)
        began = _now()
        newest = {p: found.t if found else None for p, found in self._source.newest(partitions).items()}
        committed = {
            engine: self._groups[engine].committed(self._source.topic, partitions)
            for engine in (EngineName.FLINK, EngineName.DASK)
        }
        wanted = {*frontiers, *(row.frontier for row in rows.values())}
        known = [t for t in newest.values() if t is not None]
        self._watch_clock(max(known, default=None), began)
        return PipelineLook(
            partitions=tuple(partitions),
            ends=ends,
            progress=rows,
            written=self._reader().written(),
            latency={
                frontier: self._latency(frontier, partitions, newest) for frontier in self._recent(wanted)
            },
            lag={engine: self._lag(offsets, ends) for engine, offsets in committed.items() if offsets},
            committed=committed,
            repairs_pending=self._repairs_pending(),
            dead_letters=self._dead_letter_count(),
            newest_t=max(known, default=None),
        )

    def _reader(self) -> ProgressReader:
        if self._progress is None:
            reader = ProgressReader(self._config)
            reader.settle()
            self._progress = reader
        return self._progress

    def progress(self) -> dict[ProgressKey, ProgressRow]:
        """The newest row of each (generation, epoch, engine), with all that is committed by now."""
        reader = self._reader()
        reader.settle()
        return reader.poll()

    @staticmethod
    def _recent(frontiers: Iterable[int], count: int = 4) -> list[int]:
        """Only frontiers of engines that may still matter are worth a question to the broker."""
        return sorted(frontiers, reverse=True)[:count]

    def _latency(self, frontier: int, partitions: list[int], newest: Mapping[int, int | None]) -> int:
        found = self._source.first_at(first_query(frontier, self._clock), partitions)
        first = {partition: where.t if where else None for partition, where in found.items()}
        end = candidate_end(first, frontier, self._clock)
        if end is None:
            return 0
        found = self._source.first_at(closing_query(end, self._clock), partitions)
        closing = {partition: where.t if where else None for partition, where in found.items()}
        return latency_ms(closing, newest, self._brokers.now(_now()), self._clock)

    def _watch_clock(self, newest: int | None, began: int) -> None:
        if self._config.timestamp_type is not TimestampType.LOG_APPEND_TIME:
            return  # producers' clocks: a record may be as old as it likes
        before = self._brokers.ahead_ms
        self._brokers.look(newest, began=began, ended=_now())
        if (before == 0) != (self._brokers.ahead_ms == 0):
            log.warning("clock.off", ahead_of_brokers_seconds=round(self._brokers.ahead_ms / 1000, 1))

    @staticmethod
    def _lag(committed: Mapping[int, int], ends: Mapping[int, int]) -> int:
        return sum(max(0, end - committed.get(partition, 0)) for partition, end in ends.items())

    def _repairs_pending(self) -> int:
        end = self._repairs.stable_ends([0])[0]
        return max(0, end - (self.repairs_committed() or 0))

    def repairs_end(self) -> int:
        """One past the newest repair request."""
        return self._repairs.stable_ends([0])[0]

    def repairs_committed(self) -> int | None:
        """Up to which request repairs are done; None: none yet."""
        return self._groups[EngineName.REPAIR].committed(self._config.repairs_topic, [0]).get(0)

    def _dead_letter_count(self) -> int:
        partitions = self._dead_letters.partitions()
        ends, starts = self._dead_letters.stable_ends(partitions), self._dead_letters.log_starts(partitions)
        return sum(ends[partition] - starts[partition] for partition in partitions)

    def close(self) -> None:
        """Close the reader of the progress topic."""
        if self._progress is not None:
            self._progress.close()
        for group in self._groups.values():
            group.close()


def _now() -> int:
    return time.time_ns() // 1_000_000
