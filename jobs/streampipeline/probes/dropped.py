"""Flink's own count of records that came too late for a window, and the span that is to be repaired for them.

It drops an on-time record only where the clock had passed it: on a CreateTime topic, one that runs further
back than the disorder, or comes from a partition that was idle. Such a record stood after the offsets that
were committed when nothing had been dropped yet.
"""

from __future__ import annotations

from collections.abc import Mapping

from streampipeline.jobconfig import PipelineConfig
from streampipeline.offsets import OffsetLookup
from streampipeline.requests import RepairReason, RepairRequest


class DropWatch:
    """Remembers, for each job, what it had dropped when it was last looked at. One thread."""

    def __init__(self, config: PipelineConfig) -> None:
        self._config = config
        self._seen: dict[str, int] = {}
        self._clean: dict[int, int] = {}
        """Offsets that were committed at the last look that found nothing new."""

    def look(self, job_id: str, dropped: int, committed: Mapping[int, int]) -> RepairRequest | None:
        """What to repair when more was dropped than before.

        `dropped`: the job's count, `committed`: offsets of its consumer group. Raises
        confluent_kafka.KafkaException, RangeGone.
        """
        if dropped <= self._seen.get(job_id, 0):
            self._clean = dict(committed)
            return None
        span = self._span()
        self._seen[job_id] = dropped
        return (
            None if span is None else RepairRequest(reason=RepairReason.DROPPED, start=span[0], end=span[1])
        )

    def _span(self) -> tuple[int, int] | None:
        """Event times (ms) that on-time records after the clean offsets can have."""
        # Tables are needed when something was dropped only: the operator does without until then.
        from streampipeline.reading import Range, RangeReader

        lookup = OffsetLookup(self._config)
        partitions = lookup.partitions()
        newest = [found.t for found in lookup.newest(partitions).values() if found]
        ends, starts = lookup.stable_ends(partitions), lookup.log_starts(partitions)
        first = {p: max(self._clean.get(p, 0), starts[p]) for p in partitions}
        ranges = [Range(p, offset, offset + 1) for p, offset in first.items() if offset < ends[p]]
        if not ranges or not newest:
            return None
        reader = RangeReader(self._config, group=f"streampipeline.{self._config.uid}.probe")
        try:
            times: list[int] = reader.read(ranges).table["t"].to_pylist()  # type: ignore[assignment]
        finally:
            reader.close()
        event_time = self._config.spec.source.event_time
        delay = event_time.allowed_delay_seconds * 1000 + self._config.disorder_ms
        earliest = min(times, default=min(newest)) - delay
        return max(0, earliest), max(newest) + event_time.max_future_seconds * 1000 + 1
