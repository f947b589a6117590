"""Repair: windows below the frontier are computed again, late records included, and written over.

`python -m streampipeline.repair CONFIG.json --until MS [--once]` repairs what was requested and prints one
JSON line a pass. What it did for a user's backfill it notes in the journal. Repairs run only while no engine
writes windows that end at or below `until`. Exit codes: 0 done or stopped, 3 fenced, 1 error.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from pydantic import ValidationError

from streampipeline import backfill
from streampipeline.decode import Decoder
from streampipeline.job_file import load_when_there
from streampipeline.jobconfig import EngineName, JobConfig
from streampipeline.journal import Journal
from streampipeline.kafka import consumer
from streampipeline.logs import configure
from streampipeline.offsets import TIMEOUT_SECONDS, OffsetLookup
from streampipeline.publish import Fenced, Stopped
from streampipeline.reading import RangeReader
from streampipeline.refusals import Reader
from streampipeline.repair_span import RepairReport, SpanRepair
from streampipeline.requests import PARTITION, RepairReason, RepairRequest

log = structlog.get_logger(__name__)

REQUESTS_AT_ONCE = 50_000
"""Requests of one pass over the topic: what is remembered of them is bounded."""

PAUSE_SECONDS = 5.0
"""Between two looks for new requests."""


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
        self._journal = Journal(config, should_stop)
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
        usual = [entry for entry in batch if entry[1] and entry[1].reason is not RepairReason.BACKFILL]
        not_ready: set[int] = set()
        failed = report.cut + report.unscorable
        for span in self._spans:
            not_ready |= span.repair(usual, until, report)
        ready = len(usual) - len(not_ready)
        report.requests += max(0, ready - (report.cut + report.unscorable - failed))
        for offset, request in batch:
            if request is None or request.reason is not RepairReason.BACKFILL:
                continue
            if not self._backfill(offset, request, until, report):
                not_ready.add(offset)
        report.not_ready += len(not_ready)
        return min(not_ready, default=None)

    def _backfill(self, offset: int, request: RepairRequest, until: int, report: RepairReport) -> bool:
        """Do one by itself, for its cost is told. Returns whether it was ready.

        What cannot be done of it leaves windows as right as they were: it is no repair that failed.
        """
        did = RepairReport()
        began = time.monotonic()
        not_ready = [span.repair([(offset, request)], until, did) for span in self._spans]
        if any(not_ready):
            return False
        done = backfill.Done(
            start=request.start,
            end=request.end,
            windows=did.windows,
            records=did.records,
            seconds=round(time.monotonic() - began, 3),
            cut=did.cut > 0,
            unscorable=did.unscorable > 0,
        )
        self._journal.write({backfill.key_of(offset): done})
        report.requests += 1
        report.windows += did.windows
        report.records += did.records
        return True


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
    parser = argparse.ArgumentParser(description="Repair requested windows.")
    parser.add_argument("config", type=Path, help="a JobConfig as JSON")
    parser.add_argument(
        "--until", type=int, required=True, help="repair windows that end at or below it (ms)"
    )
    parser.add_argument("--once", action="store_true", help="one pass, then exit")
    parser.add_argument("--summary", type=Path, help="write what the last pass did to this file too")
    arguments = parser.parse_args()
    configure()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        config = load_when_there(arguments.config)
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
