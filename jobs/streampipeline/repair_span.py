"""The repair of one generation's windows: what its records give, computed again and written over."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import polars as pl
import structlog
from confluent_kafka.admin import ConfigResource, ResourceType  # type: ignore[attr-defined]

from streampipeline import windows
from streampipeline.jobconfig import EngineName, TimestampType
from streampipeline.kafka import admin
from streampipeline.offsets import TIMEOUT_SECONDS, Found, OffsetLookup
from streampipeline.publish import Publisher
from streampipeline.reading import RangeReader, towards
from streampipeline.refusals import LateRefusals, Reader
from streampipeline.repair_plan import (
    Cluster,
    Extent,
    Starts,
    clusters,
    extents,
    is_ready,
    slice_of,
    starts_of,
    whole_from,
)
from streampipeline.requests import RepairRequest
from streampipeline.score import ModelUnavailable

log = structlog.get_logger(__name__)

CHUNK_RECORDS = 100_000
"""Records in memory at a time."""

CUT_SHOWN = 5


@dataclass
class RepairReport:
    """What one pass did."""

    requests: int = 0
    """Requests whose windows were repaired (or hold no record)."""
    windows: int = 0
    records: int = 0
    """Records read."""
    seconds: float = 0.0
    not_ready: int = 0
    """Requests left for later: an engine may still write their windows."""
    cut: int = 0
    """Requests that cannot be repaired any more: retention has deleted a part of what the windows held."""
    first_cut: list[tuple[str, int, int]] = field(default_factory=list)
    """(reason, from, to) of the first of them."""
    unscorable: int = 0
    """Requests whose windows keep what they have: their generation's model is gone."""


class SpanRepair:
    """Repairs the windows of one generation, with what that generation computes."""

    def __init__(
        self, own: Reader, later: Sequence[Reader], reader: RangeReader, should_stop: Callable[[], bool]
    ) -> None:
        """`later`: the generations that have followed: this one's model may be gone. Raises Fenced."""
        self._span, self._decoder = own.span, own.decoder
        self._config = config = own.span.config
        self._reader = reader
        self._publisher = Publisher.open(
            config, source=EngineName.REPAIR, should_stop=should_stop, must_score=bool(later)
        )
        self._refusals = LateRefusals(config, own.span, later, should_stop)
        self._lookup = OffsetLookup(config)
        times = config.spec.source.event_time
        self._bounds = {
            "max_future_ms": times.max_future_seconds * 1000,
            "max_lateness_ms": times.max_lateness_seconds * 1000,
            "disorder_ms": config.disorder_ms,
        }

    def close(self) -> None:
        """Let go of the connections."""
        self._publisher.close()

    def repair(
        self, batch: list[tuple[int, RepairRequest | None]], until: int, report: RepairReport
    ) -> set[int]:
        """Repair the part of each request that is this generation's. Returns offsets of those not ready.

        Raises as `Repair.run_once`.
        """
        window = self._config.spec.window
        not_ready: set[int] = set()
        ready: list[tuple[RepairRequest, Starts]] = []
        for offset, request in batch:
            if request is None:
                continue
            starts = starts_of(
                request.start, request.end, window, after=self._span.after, until=self._span.until
            )
            if not is_ready(starts, window, until):
                not_ready.add(offset)
            elif starts is not None:
                ready.append((request, starts))
        for cluster in clusters(self._whole(ready, report), window, **self._bounds):
            try:
                self._repair_cluster(cluster, report)
            except ModelUnavailable as error:
                report.unscorable += cluster.requests
                log.error("repair.unscorable", requests=cluster.requests, error=str(error))
        return not_ready

    def _whole(
        self, ready: list[tuple[RepairRequest, Starts]], report: RepairReport
    ) -> list[tuple[RepairRequest, Starts]]:
        """Those whose slice is still in the log; the others are reported."""
        if not ready:
            return []
        partitions = self._lookup.partitions()
        since = whole_from(
            firsts=self._lookup.first_at(0, partitions),
            log_starts=self._lookup.log_starts(partitions),
            origin=self._config.origin.offsets,
            retained_since=self._retained_since(),
        )
        whole = []
        for request, starts in ready:
            needed = slice_of(starts, self._config.spec.window, **self._bounds)
            if since is not None and (since == 0 or needed.from_t >= since):
                whole.append((request, starts))
                continue
            report.cut += 1
            if len(report.first_cut) < CUT_SHOWN:
                report.first_cut.append((request.reason.value, request.start, request.end))
        if len(whole) < len(ready):
            cut = len(ready) - len(whole)
            log.error("repair.cut", requests=cut, first=report.first_cut, whole_from=since)
        return whole

    def _retained_since(self) -> int | None:
        """How far back (ms) the topic deletes by age; None: it deletes by size too, or not by age at all."""
        resource = ConfigResource(ResourceType.TOPIC, self._lookup.topic)
        client = admin(self._config)  # a name for it: a client that nobody holds fails its pending requests
        entries = client.describe_configs([resource])[resource].result(TIMEOUT_SECONDS)
        age, size = int(entries["retention.ms"].value), int(entries["retention.bytes"].value)
        return time.time_ns() // 1_000_000 - age if age >= 0 and size < 0 else None

    def _extents(self, cluster: Cluster) -> dict[int, Extent]:
        partitions = self._lookup.partitions()
        ends = self._lookup.stable_ends(partitions)
        stops: dict[int, Found | None] = dict.fromkeys(partitions)
        # On a CreateTime topic a record may stand anywhere behind the slice: it is read to the end.
        if self._config.timestamp_type is TimestampType.LOG_APPEND_TIME:
            stops = self._lookup.first_at(cluster.slice.to_t, partitions)
        return extents(
            starts=self._lookup.first_at(cluster.slice.from_t, partitions),
            stops=stops,
            ends=ends,
            origin=self._config.origin.offsets,
        )

    def _repair_cluster(self, cluster: Cluster, report: RepairReport) -> None:
        """One pass over a slice, a chunk at a time; of the windows only the wanted ones are kept."""
        spec = self._config.spec
        found = self._extents(cluster)
        positions = {partition: extent.start for partition, extent in found.items()}
        ends = {partition: extent.end for partition, extent in found.items()}
        newest: dict[int, int] = {}
        wanted = cluster.wanted()
        kept = windows.merge([], spec)
        while ranges := towards(positions, ends, CHUNK_RECORDS):
            records = self._reader.read(ranges)
            decoded = self._decoder.decode(records.table)
            self._refusals.write(decoded, records)
            report.records += decoded.height
            partial = windows.aggregate(decoded, spec, include_late=True).filter(wanted)
            kept = windows.merge([kept, partial], spec)
            newest.update(decoded.group_by("partition").agg(pl.col("t").max()).iter_rows())
            positions.update({each.partition: each.end for each in ranges})
            unread = [partition for partition, end in ends.items() if positions[partition] < end]
            kept = self._publish_complete(kept, [newest.get(partition, 0) for partition in unread], report)
        self._publish(kept, report)

    def _publish_complete(self, kept: pl.DataFrame, unread: list[int], report: RepairReport) -> pl.DataFrame:
        """Publish windows to which nothing can be added; `unread`: newest T (ms) of unfinished partitions."""
        if not unread or self._config.timestamp_type is TimestampType.CREATE_TIME:
            return kept
        complete = pl.col("window_end") <= min(unread) - self._bounds["max_lateness_ms"]
        self._publish(kept.filter(complete), report)
        return kept.filter(~complete)

    def _publish(self, complete: pl.DataFrame, report: RepairReport) -> None:
        if complete.height:
            self._publisher.publish(windows.to_arrow(complete, self._config.spec))
            report.windows += complete.height
