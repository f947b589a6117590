"""Repair: windows below the frontier are computed again, late records included, and written over.

`python -m streampipeline.repair CONFIG.json --until MS [--once]` repairs what was requested and prints one
JSON line a pass; `... --from MS --to MS [--key KEY]` requests every window of [from, to): the user's
backfill. Repairs run only while no engine writes windows that end at or below `until`. Exit codes: 0 done or
stopped, 3 fenced, 1 error.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import polars as pl
import structlog
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import ConfigResource, ResourceType  # type: ignore[attr-defined]
from pydantic import ValidationError

from streampipeline import windows
from streampipeline.decode import Decoder
from streampipeline.job_file import load_when_there
from streampipeline.jobconfig import EngineName, JobConfig, TimestampType
from streampipeline.kafka import admin, consumer
from streampipeline.logs import configure
from streampipeline.offsets import TIMEOUT_SECONDS, Found, OffsetLookup
from streampipeline.publish import Fenced, Publisher, Stopped
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
from streampipeline.requests import PARTITION, RepairReason, RepairRequest, RequestWriter
from streampipeline.score import ModelUnavailable

log = structlog.get_logger(__name__)

REQUESTS_AT_ONCE = 50_000
"""Requests of one pass over the topic: what is remembered of them is bounded."""

CHUNK_RECORDS = 100_000
"""Records in memory at a time."""

PAUSE_SECONDS = 5.0
"""Between two looks for new requests."""

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


class RequestReader:
    """Reads the repairs topic from where the repair's group has committed."""

    def __init__(self, config: JobConfig) -> None:
        self._topic = config.repairs_topic
        self._lookup = OffsetLookup(config, self._topic)
        self._consumer = consumer(
            config, config.group(EngineName.REPAIR), {"enable.partition.eof": True, "fetch.wait.max.ms": 100}
        )

    def batches(self, should_stop: Callable[[], bool]) -> Iterator[list[tuple[int, RepairRequest | None]]]:
        """(offset, request) up to the end as it is now, in batches; None: not a request.

        Raises Stopped, confluent_kafka.KafkaException.
        """
        end = self._lookup.stable_ends([PARTITION])[PARTITION]
        where = self._consumer.committed([TopicPartition(self._topic, PARTITION)], timeout=TIMEOUT_SECONDS)[0]
        position = max(where.offset, self._lookup.log_starts([PARTITION])[PARTITION])
        self._consumer.assign([TopicPartition(self._topic, PARTITION, position)])
        batch: list[tuple[int, RepairRequest | None]] = []
        while position < end:
            if should_stop():
                raise Stopped("asked to stop while reading requests")
            for message in self._consumer.consume(min(end - position, REQUESTS_AT_ONCE), timeout=0.1):
                offset, error = message.offset(), message.error()
                assert offset is not None
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        position = max(position, offset)
                    elif not error.retriable():
                        raise KafkaException(error)
                elif offset < end:
                    batch.append((offset, _request(message.value())))
                    position = offset + 1
                else:
                    position = end
            if len(batch) >= REQUESTS_AT_ONCE:
                yield batch
                batch = []
        if batch:
            yield batch

    def commit(self, offset: int) -> None:
        """Everything below `offset` is done with. Raises confluent_kafka.KafkaException."""
        self._consumer.commit(offsets=[TopicPartition(self._topic, PARTITION, offset)], asynchronous=False)

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


def _request(value: bytes | None) -> RepairRequest | None:
    try:
        return RepairRequest.decode(value or b"")
    except ValidationError as error:
        log.warning("repair.not_a_request", error=str(error))
        return None


class Repair:
    """Repairs requested windows of one pipeline. Not for use by several threads."""

    def __init__(self, config: JobConfig, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Raises Fenced when the token is gone."""
        self._should_stop = should_stop
        self._requests = RequestReader(config)
        self._reader = RangeReader(config, group=config.group(EngineName.REPAIR), should_stop=should_stop)
        readers = [Reader(span, Decoder.of(span.config.spec, config.avro_schema)) for span in config.spans]
        self._spans = [
            SpanRepair(own, readers[index + 1 :], self._reader, should_stop)
            for index, own in enumerate(readers)
        ]

    def close(self) -> None:
        """Leave the broker."""
        self._requests.close()
        self._reader.close()
        for span in self._spans:
            span.close()

    def run_once(self, until: int) -> RepairReport:
        """Repair every request at hand whose windows end at or below `until` (ms), then commit.

        Raises Fenced, Stopped, RangeGone, confluent_kafka.KafkaException.
        """
        began = time.monotonic()
        report = RepairReport()
        held_back = False
        for batch in self._requests.batches(self._should_stop):
            not_ready = self._repair(batch, until, report)
            if not held_back:
                self._requests.commit(batch[-1][0] + 1 if not_ready is None else not_ready)
            held_back = held_back or not_ready is not None
        report.seconds = round(time.monotonic() - began, 3)
        return report

    def _repair(
        self, batch: list[tuple[int, RepairRequest | None]], until: int, report: RepairReport
    ) -> int | None:
        """Repair one batch. Returns the offset of its first request that is not ready."""
        not_ready: set[int] = set()
        failed = report.cut + report.unscorable
        for span in self._spans:
            not_ready |= span.repair(batch, until, report)
        report.not_ready += len(not_ready)
        ready = sum(1 for offset, request in batch if request and offset not in not_ready)
        report.requests += max(0, ready - (report.cut + report.unscorable - failed))
        return min(not_ready, default=None)


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


def backfill(
    config: JobConfig,
    start: int,
    end: int,
    key: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> RepairRequest:
    """Request every window (of `key`, or of every key) that holds an instant of [start, end), ms.

    Raises ValueError when the span is empty, Stopped, confluent_kafka.KafkaException.
    """
    request = RepairRequest(reason=RepairReason.BACKFILL, key=key, start=start, end=end)
    writer = RequestWriter(config, should_stop)
    writer.write([request])
    return request


def run(
    config: JobConfig, until: int, *, once: bool, stop: threading.Event, summary: Path | None = None
) -> None:
    """Repair in passes until stopped, or a single one; prints a JSON line for each that had something to do.

    `summary`: file that the newest line is written to as well.

    Raises what `Repair.run_once` raises but Stopped.
    """
    repair = Repair(config, stop.is_set)
    try:
        while not stop.is_set():
            report = repair.run_once(until)
            if once or report.requests or report.cut:
                line = json.dumps(asdict(report))
                print(line, flush=True)
                if summary is not None:
                    summary.write_text(line)
            if once:
                return
            stop.wait(PAUSE_SECONDS)
    except (Stopped, InterruptedError):
        log.info("repair.stopped")
    finally:
        repair.close()


def main() -> int:
    """The command line. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Repair requested windows, or request a backfill.")
    parser.add_argument("config", type=Path, help="a JobConfig as JSON")
    parser.add_argument("--until", type=int, help="repair windows that end at or below it (ms)")
    parser.add_argument("--once", action="store_true", help="one pass, then exit")
    parser.add_argument("--from", dest="start", type=int, help="request windows from here (ms)")
    parser.add_argument("--to", dest="end", type=int, help="... to here, exclusive (ms)")
    parser.add_argument("--key", help="... of this key only")
    parser.add_argument("--summary", type=Path, help="write what the last pass did to this file too")
    arguments = parser.parse_args()
    backfilling = arguments.start is not None and arguments.end is not None
    if not backfilling and arguments.until is None:
        parser.error("give --until, or --from and --to")
    configure()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        config = load_when_there(arguments.config)
        if backfilling:
            request = backfill(config, arguments.start, arguments.end, arguments.key, stop.is_set)
            print(request.model_dump_json(by_alias=True), flush=True)
        if arguments.until is not None:
            run(config, arguments.until, once=arguments.once, stop=stop, summary=arguments.summary)
    except Fenced as fenced:
        log.error("repair.fenced", reason=str(fenced))
        return 3
    except Stopped:
        return 0
    except Exception:
        log.exception("repair.failed")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
