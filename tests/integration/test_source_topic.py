"""The source topic on a real broker: which is refused, and records that go from under a reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from tests.support.dask_ground import Ground, await_, kafka_home

from streampipeline.jobconfig import PipelineConfig, TimestampType
from streampipeline.local.kafka import KafkaProcess
from streampipeline.local.processes import Processes
from streampipeline.reading import Range, RangeGone, RangeReader
from streampipeline_operator.preparation import SourceProblem, source_timestamps

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A broker alone."""
    processes = Processes(Path(tmp_path_factory.mktemp("topic")))
    try:
        ground = Ground(processes, KafkaProcess(processes, home=kafka_home()), "http://unused")
        ground.kafka.start()
        await_("Kafka answers", ground.kafka.answers)
        yield ground
    finally:
        processes.stop_all()


def set_policy(pipeline: PipelineConfig, policy: str) -> None:
    entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    topic = ConfigResource(ResourceType.TOPIC, pipeline.spec.source.kafka.topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": pipeline.bootstrap_servers[0]})
    admin.incremental_alter_configs([topic])[topic].result(20)


def told(pipeline: PipelineConfig) -> str:
    """Who sets the timestamps, or what is wrong. A broker learns of a change a little later."""
    try:
        return source_timestamps(pipeline).value
    except SourceProblem as problem:
        return str(problem)


@pytest.mark.parametrize("timestamps", list(TimestampType))
def test_who_sets_timestamps_is_the_topics_to_say(ground: Ground, timestamps: TimestampType) -> None:
    pipeline = ground.pipeline(f"of-{timestamps.value}", timestamps)
    await_("the topic is known", lambda: "does not exist" not in told(pipeline), 10)
    assert told(pipeline) == timestamps.value


def test_a_compacted_topic_is_refused(ground: Ground) -> None:
    pipeline = ground.pipeline("forgets", TimestampType.LOG_APPEND_TIME)
    for policy in ("compact", "compact,delete"):
        set_policy(pipeline, policy)
        await_(f"{policy} is refused", lambda: "forgets is compacted" in told(pipeline), 10)


def test_records_that_go_from_under_a_reader_are_an_error(ground: Ground) -> None:
    pipeline = ground.pipeline("cut", TimestampType.LOG_APPEND_TIME)
    producer = ground.producer()
    for _ in range(20):
        producer.produce("cut", value=b"x", partition=0)
    producer.flush(10)
    admin = AdminClient({"bootstrap.servers": ground.kafka.bootstrap})
    for future in admin.delete_records([TopicPartition("cut", 0, 10)]).values():
        future.result(20)
    reader = RangeReader(pipeline, group="cut")
    try:
        assert reader.read([Range(0, 10, 20)]).table.num_rows == 10
        with pytest.raises(RangeGone, match="offset 5 is below the log's start"):
            reader.read([Range(0, 5, 20)])
    finally:
        reader.close()
