"""Sending letters back: the record as it came, once more, as a new record of the source topic."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa
from confluent_kafka import KafkaError, Message

from streampipeline.deadletters import REPLAY_OF, DeadLetter, Header
from streampipeline.decode import Decoder
from streampipeline.dlq.letters import Place, Selection, letters
from streampipeline.dlq.receipts import Receipts, Stage, name_of
from streampipeline.jobconfig import PipelineConfig, TimestampType
from streampipeline.journal import Journal
from streampipeline.kafka import producer
from streampipeline.offsets import OffsetLookup
from streampipeline.reading import RECORDS_SCHEMA

BATCH = 500
"""Letters claimed and sent at a time."""
SEND_SECONDS = 30
"""How long the broker may take for a batch; what it has not acknowledged by then counts as unknown."""


@dataclass
class Replayed:
    """What a replay did."""

    dry_run: bool
    sent: int = 0
    """With `dry_run`: that would be sent."""
    already: int = 0
    """Replayed before, hence left."""
    in_flight: int = 0
    """Claimed by a replay that goes on, or ended in the middle a moment ago: its copy may still come."""
    refused: Counter[str] = field(default_factory=Counter)
    """By reason: they would be dead-lettered again."""
    failed: int = 0
    """The broker refused the record."""
    unknown: int = 0
    """Not acknowledged: the next replay looks whether the record is there."""

    @property
    def right(self) -> bool:
        """Whether each letter that was not replayed before is, or would be, in the source topic again."""
        return not (self.in_flight or self.refused.total() or self.failed or self.unknown)

    def as_data(self) -> dict[str, Any]:
        """For output."""
        return {
            "dryRun": self.dry_run,
            "sent": self.sent,
            "alreadyReplayed": self.already,
            "inFlight": self.in_flight,
            "refused": dict(self.refused),
            "failed": self.failed,
            "unknown": self.unknown,
        }


class Replay:
    """One replay of letters of one pipeline."""

    def __init__(self, config: PipelineConfig, *, again: bool = False, dry_run: bool = False) -> None:
        """`again`: letters that were replayed before too."""
        self._config = config
        self._again = again
        self._lookup = OffsetLookup(config)
        self._decoder = Decoder.of(config.spec, config.avro_schema)
        self._receipts = Receipts(config, Journal(config), secrets.token_hex(6))
        self.result = Replayed(dry_run)

    def run(self, selection: Selection, limit: int) -> Replayed:
        """Replay up to `limit` of the selected letters that can be, oldest letter first.

        Raises confluent_kafka.KafkaException, TimeoutError, KeyError (no such topic).
        """
        self._receipts.read()
        if not self.result.dry_run:
            self._receipts.settle_abandoned()
        fresh = (letter for letter in letters(self._config, selection) if self._is_open(letter))
        left = limit
        while left > 0 and (batch := list(islice(fresh, min(BATCH, left)))):
            good = self._judged(batch)
            left -= len(good)
            if self.result.dry_run:
                self.result.sent += len(good)
            elif good:
                self._send(good)
        return self.result

    def _is_open(self, letter: DeadLetter) -> bool:
        match self._receipts.stage((letter.partition, letter.offset)):
            case Stage.SENT if not self._again:
                self.result.already += 1
                return False
            case Stage.CLAIMED:
                self.result.in_flight += 1
                return False
        return True

    def _judged(self, batch: list[DeadLetter]) -> list[tuple[DeadLetter, int]]:
        """Those that would be accepted, each with the Kafka timestamp that it would have (ms)."""
        times = self._times({letter.partition for letter in batch})
        t = [max(letter.t, times[letter.partition]) for letter in batch]
        table = pa.Table.from_arrays(
            [
                pa.array([letter.value for letter in batch], pa.binary()),
                pa.array([letter.partition for letter in batch], pa.int32()),
                pa.array([letter.offset for letter in batch], pa.int64()),
                pa.array(t, pa.int64()),
            ],
            schema=RECORDS_SCHEMA,
        )
        reasons = self._decoder.decode(table)["reason"].to_list()
        self.result.refused.update(reason for reason in reasons if reason is not None)
        judged = zip(batch, t, reasons, strict=True)
        return [(letter, at) for letter, at, reason in judged if reason is None]

    def _times(self, partitions: Iterable[int]) -> dict[int, int]:
        """The Kafka timestamp of a record that is appended now, by partition.

        On a CreateTime topic the newest there: time in such a topic may stand anywhere, and a record that is
        far ahead of it would close every window, one far behind come too late for all.
        """
        listed = sorted(partitions)
        if self._config.timestamp_type is TimestampType.LOG_APPEND_TIME:
            return dict.fromkeys(listed, time.time_ns() // 1_000_000)
        newest = self._lookup.newest(listed)
        return {partition: found.t if found else 0 for partition, found in newest.items()}

    def _send(self, batch: list[tuple[DeadLetter, int]]) -> None:
        ends = self._lookup.high_watermarks(sorted({letter.partition for letter, _ in batch}))
        ours = self._receipts.claim(((letter.partition, letter.offset) for letter, _ in batch), ends)
        self.result.in_flight += len(batch) - len(ours)
        sent: set[Place] = set()
        failed: set[Place] = set()
        client = producer(self._config, {"message.timeout.ms": SEND_SECONDS * 1000})
        for letter, t in batch:
            place = (letter.partition, letter.offset)
            if place not in ours:
                continue

            def done(error: KafkaError | None, _: Message, place: Place = place) -> None:
                if error is None:
                    sent.add(place)
                elif error.code() not in (KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT):
                    failed.add(place)

            client.produce(
                self._config.spec.source.kafka.topic,
                key=letter.key,
                value=letter.value,
                partition=letter.partition,
                timestamp=t,
                headers=list(headers_of_replay(letter)),
                on_delivery=done,
            )
        client.flush(SEND_SECONDS + 5)
        self._receipts.settle(sent, failed)
        self.result.sent += len(sent)
        self.result.failed += len(failed)
        self.result.unknown += len(ours - sent - failed)


def headers_of_replay(letter: DeadLetter) -> Iterator[Header]:
    """The record's own headers, then whose replay it is; one that was a replay itself names the last."""
    yield from (header for header in letter.headers if header[0] != REPLAY_OF)
    yield REPLAY_OF, name_of((letter.partition, letter.offset)).encode()
