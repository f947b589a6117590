"""The internal topics and the dead-letter topic: made by the ground, named by the pipeline's UID."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from streampipeline.jobconfig import PROGRESS_PARTITION, PipelineConfig
from streampipeline.kafka import admin

TIMEOUT_SECONDS = 10.0


def ensure_topics(config: PipelineConfig, *, replication: int = -1) -> None:
    """Create what is missing: progress and journal (compacted), repairs (kept), dead letters.

    `replication` -1 is the broker's default. Raises confluent_kafka.KafkaException.
    """
    wanted = [
        NewTopic(
            config.progress_topic,
            num_partitions=len(PROGRESS_PARTITION),
            replication_factor=replication,
            config={"cleanup.policy": "compact", "segment.ms": "3600000"},
        ),
        NewTopic(
            config.repairs_topic,
            num_partitions=1,
            replication_factor=replication,
            config={"cleanup.policy": "delete", "retention.ms": "-1"},
        ),
        NewTopic(
            config.journal_topic,
            num_partitions=1,
            replication_factor=replication,
            # What was appended a moment ago is not compacted: who came first is still to be seen.
            config={"cleanup.policy": "compact", "min.compaction.lag.ms": "3600000"},
        ),
        # The broker's retention applies: dead letters hold patients' data.
        NewTopic(
            config.spec.dead_letter.topic,
            num_partitions=1,
            replication_factor=replication,
            config={"message.timestamp.type": "CreateTime"},
        ),
    ]
    _create(config, wanted)


def _create(config: PipelineConfig, topics: list[NewTopic]) -> None:
    client = admin(config)
    for future in client.create_topics(topics, operation_timeout=TIMEOUT_SECONDS).values():
        try:
            future.result(TIMEOUT_SECONDS)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def ensure_source(config: PipelineConfig, *, partitions: int) -> None:
    """Create the source topic when it is missing, with the timestamps that the pipeline expects.

    Only where the product owns the broker: on a cluster the topic is the user's. Raises KafkaException.
    """
    topic = NewTopic(
        config.spec.source.kafka.topic,
        num_partitions=partitions,
        replication_factor=-1,
        config={"message.timestamp.type": config.timestamp_type.value, "retention.ms": "-1"},
    )
    _create(config, [topic])
