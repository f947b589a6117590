"""The topics, read with confluent-kafka: committed records only, between offsets that are fixed before."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from numpy.typing import NDArray

from streampipeline.jobconfig import JobConfig
from streampipeline_audit.dead_letters import DeadLetters
from streampipeline_audit.errors import AuditError
from streampipeline_audit.verdict import RecordBatch

_BATCH = 20_000
_POLL_SECONDS = 0.1
_CALL_SECONDS = 15
_SILENT_SECONDS = 60
_LEAD_MS = 600_000
"""How far a partition may be read ahead of the slowest, in Kafka time: windows stay open so much longer."""


class Topics:
    """One cluster's topics. Every method raises AuditError when Kafka does not answer."""

    def __init__(self, config: JobConfig) -> None:
        self._properties: dict[str, Any] = {
            "bootstrap.servers": ",".join(config.bootstrap_servers),
            "group.id": f"streampipeline.{config.uid}.audit",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            # An offset that is gone must be told, not skipped.
            "auto.offset.reset": "error",
            "log_level": 0,
            **config.kafka_properties,
        }
        if config.kafka_secret_file:
            try:
                self._properties.update(json.loads(Path(config.kafka_secret_file).read_text()))
            except (OSError, ValueError) as error:
                raise AuditError(f"cannot read Kafka's secrets: {error}") from error

    def ends(self, topic: str) -> dict[int, int]:
        """End offset (the last stable one) of each partition; empty when there is no such topic."""
        return {partition: high for partition, (_, high) in self._bounds(topic).items()}

    def starts(self, topic: str) -> dict[int, int]:
        """The first offset that each partition still has."""
        return {partition: low for partition, (low, _) in self._bounds(topic).items()}

    def _bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        consumer = self._consumer()
        try:
            found = consumer.list_topics(topic, timeout=_CALL_SECONDS).topics[topic]
            if found.error is not None:
                if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    return {}
                raise KafkaException(found.error)
            return {
                partition: consumer.get_watermark_offsets(
                    TopicPartition(topic, partition), timeout=_CALL_SECONDS
                )
                for partition in found.partitions
            }
        except KafkaException as error:
            raise self._failure(topic, error) from error
        finally:
            consumer.close()

    def committed(self, group: str, topic: str, partition: int) -> int:
        """The offset that a group has committed; 0 when it has not."""
        consumer = self._consumer({"group.id": group})
        try:
            found = consumer.committed([TopicPartition(topic, partition)], timeout=_CALL_SECONDS)[0]
            if found.error is not None:
                raise KafkaException(found.error)
            return max(0, found.offset)
        except KafkaException as error:
            raise self._failure(topic, error) from error
        finally:
            consumer.close()

    def records(self, topic: str, begin: dict[int, int], end: dict[int, int]) -> Iterator[RecordBatch]:
        """Records with begin[p] <= offset < end[p], the partitions about level in Kafka time."""
        for chunk in self._chunks(topic, begin, end):
            yield RecordBatch(
                partitions=chunk.partitions,
                offsets=chunk.offsets,
                timestamps=chunk.timestamps,
                values=list(map(Message.value, chunk.messages)),
                finished=chunk.finished,
            )

    def values(self, topic: str, begin: dict[int, int], end: dict[int, int]) -> Iterator[bytes | None]:
        """Values of the records with begin[p] <= offset < end[p]."""
        for chunk in self._chunks(topic, begin, end):
            yield from map(Message.value, chunk.messages)

    def dead_letters(self, topic: str, source: str, end: dict[int, int]) -> DeadLetters:
        """The dead letters, up to `end`, of the records of the topic `source`."""
        begin = self.starts(topic) if end else {}
        found: dict[int, set[int]] = {}
        for chunk in self._chunks(topic, begin, end):
            for message in chunk.messages:
                place = _place(message, source)
                if place is not None:
                    found.setdefault(place[0], set()).add(place[1])
        return DeadLetters({p: np.fromiter(offsets, np.int64, len(offsets)) for p, offsets in found.items()})

    def _consumer(self, more: dict[str, str] | None = None) -> Consumer:
        try:
            return Consumer({**self._properties, **(more or {})})
        except KafkaException as error:
            raise AuditError(f"Kafka's properties are wrong: {error.args[0].str()}") from error

    def _failure(self, topic: str, error: KafkaException) -> AuditError:
        servers = self._properties["bootstrap.servers"]
        return AuditError(f"Kafka at {servers} does not give topic {topic}: {error.args[0].str()}")

    def _chunks(self, topic: str, begin: dict[int, int], end: dict[int, int]) -> Iterator[_Chunk]:
        reading = {p for p in end if begin.get(p, 0) < end[p]}
        nothing_there = frozenset(set(end) - reading)
        if nothing_there:
            yield _chunk([], end, nothing_there)
        if not reading:
            return
        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(topic, p, begin.get(p, 0)) for p in reading])
            level = _Level(consumer, topic)
            heard = time.monotonic()
            while reading:
                got = consumer.consume(_BATCH, timeout=_POLL_SECONDS)
                if got:
                    heard = time.monotonic()
                elif time.monotonic() - heard > _SILENT_SECONDS:
                    raise AuditError(f"Kafka gave nothing of {topic} for {_SILENT_SECONDS} s")
                chunk = _chunk(got, end, frozenset())
                if chunk.finished:
                    reading -= chunk.finished
                    # A topic that goes on would be fetched for nothing.
                    consumer.pause([TopicPartition(topic, partition) for partition in chunk.finished])
                yield chunk
                level.keep(chunk, reading)
        except KafkaException as error:
            raise self._failure(topic, error) from error
        finally:
            consumer.close()


@dataclass(frozen=True)
class _Chunk:
    """Messages before the end offsets, n of them, and the partitions that are at theirs."""

    messages: list[Message]
    partitions: NDArray[np.int64]
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    finished: frozenset[int]


def _chunk(got: list[Message], end: dict[int, int], finished: frozenset[int]) -> _Chunk:
    """Sort out what a consumer gave. Raises KafkaException."""
    notices = [message for message in got if message.error() is not None]
    messages = [message for message in got if message.error() is None] if notices else got
    at_end: set[int] = set(finished)
    for notice in notices:
        error, partition, offset = notice.error(), notice.partition(), notice.offset()
        if error is None or error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        # Markers of transactions take offsets too: the last record may stand before end - 1.
        if partition is not None and offset is not None and offset >= end[partition]:
            at_end.add(partition)
    partitions = np.fromiter(map(Message.partition, messages), np.int64, len(messages))
    offsets = np.fromiter(map(Message.offset, messages), np.int64, len(messages))
    timestamps = np.fromiter((message.timestamp()[1] for message in messages), np.int64, len(messages))
    ends = np.zeros(max(end) + 1, np.int64)
    ends[list(end)] = list(end.values())
    at_end.update(partitions[offsets >= ends[partitions] - 1].tolist())
    inside = offsets < ends[partitions]
    if not inside.all():
        messages = [message for message, fine in zip(messages, inside.tolist(), strict=True) if fine]
        partitions, offsets, timestamps = partitions[inside], offsets[inside], timestamps[inside]
    return _Chunk(messages, partitions, offsets, timestamps, frozenset(at_end))


def _place(dead_letter: Message, source: str) -> tuple[int, int] | None:
    """(partition, offset) of the record that a dead letter is of; None when it is of another topic."""
    headers = dict(dead_letter.headers() or [])
    partition, offset = headers.get("streampipeline.partition"), headers.get("streampipeline.offset")
    if headers.get("streampipeline.topic") != source.encode() or partition is None or offset is None:
        return None
    try:
        return int(partition), int(offset)
    except ValueError:
        return None


class _Level:
    """Pauses partitions that are far ahead, so that few windows are open at once."""

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic
        self._newest: dict[int, int] = {}
        self._paused: set[int] = set()

    def keep(self, chunk: _Chunk, reading: set[int]) -> None:
        """Take note of what was read; pause and resume."""
        for partition in np.unique(chunk.partitions).tolist():
            self._newest[partition] = int(chunk.timestamps[chunk.partitions == partition].max())
        if not reading:
            return
        slowest = min(self._newest.get(partition, 0) for partition in reading)
        ahead = {p for p in reading if self._newest.get(p, 0) > slowest + _LEAD_MS}
        self._change(ahead - self._paused, pause=True)
        self._change((self._paused - ahead) & reading, pause=False)
        self._paused = ahead

    def _change(self, partitions: set[int], *, pause: bool) -> None:
        listed = [TopicPartition(self._topic, partition) for partition in partitions]
        if listed:
            (self._consumer.pause if pause else self._consumer.resume)(listed)
