"""Reading a topic from somewhere to its end as it is now."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from streampipeline.jobconfig import PipelineConfig
from streampipeline.kafka import READ_BATCH, consumer
from streampipeline.offsets import OffsetLookup

SILENT_SECONDS = 30.0
"""A broker that gives nothing for so long is away."""


def scan(
    config: PipelineConfig, topic: str, begin: Mapping[int, int] | None = None
) -> Iterator[tuple[int, int, Message]]:
    """(partition, offset, message) of every committed record, from `begin` to the ends at the call.

    `begin`: offsets of the partitions to read; None: all partitions, from the log's start. Raises
    confluent_kafka.KafkaException, TimeoutError, and KeyError when there is no such topic.
    """
    lookup = OffsetLookup(config, topic)
    partitions = lookup.partitions() if begin is None else sorted(begin)
    ends = lookup.stable_ends(partitions)
    starts = lookup.log_starts(partitions)
    positions = {p: max(starts[p], (begin or {}).get(p, 0)) for p in partitions if starts[p] < ends[p]}
    unread = {partition for partition, position in positions.items() if position < ends[partition]}
    if not unread:
        return
    reader = consumer(
        config,
        f"streampipeline.{config.uid}.reader",
        {"enable.partition.eof": True, "fetch.wait.max.ms": 100, "auto.offset.reset": "earliest"},
    )
    try:
        reader.assign([TopicPartition(topic, partition, positions[partition]) for partition in unread])
        heard = time.monotonic()
        while unread:
            messages = reader.consume(READ_BATCH, timeout=0.1)
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENT_SECONDS:
                raise TimeoutError(f"Kafka gave nothing of {topic} for {SILENT_SECONDS:g} s")
            for message in messages:
                partition, offset, error = message.partition(), message.offset(), message.error()
                if partition is None or offset is None:
                    continue
                if error is not None:
                    # Control records may stand before the end: no message tells that they are passed.
                    if error.code() == KafkaError._PARTITION_EOF:
                        unread.discard(partition)
                    elif not error.retriable():
                        raise KafkaException(error)
                elif offset < ends[partition]:
                    yield partition, offset, message
                if offset >= ends[partition] - 1:
                    unread.discard(partition)
    finally:
        reader.close()
