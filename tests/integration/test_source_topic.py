"""The source topic on a real broker: which is refused, what a reader sees of it, and when it is an error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
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
from streampipeline.offsets import OffsetLookup
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
        await_("Kafka answers", ground.kafka.answers, 120)
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


def test_ranges_end_behind_control_records(ground: Ground) -> None:
    pipeline = ground.pipeline("transactions", TimestampType.LOG_APPEND_TIME)
    producer = Producer({"bootstrap.servers": ground.kafka.bootstrap, "transactional.id": "t"})
    producer.init_transactions(20)
    for commit in (True, False, True):
        producer.begin_transaction()
        for partition in range(4):
            for _ in range(3):
                producer.produce("transactions", value=b"x", partition=partition)
        producer.flush()  # an abort drops what was not sent
        if commit:
            producer.commit_transaction(20)
        else:
            producer.abort_transaction(20)
    lookup = OffsetLookup(pipeline)
    nine_records_and_three_markers = dict.fromkeys(range(4), 12)
    await_("all is decided", lambda: lookup.stable_ends([0, 1, 2, 3]) == nine_records_and_three_markers)
    reader = RangeReader(pipeline, group="ranges")
    try:
        whole = reader.read([Range(partition, 0, 12) for partition in range(4)])
        assert whole.table["offset"].to_pylist() == [0, 1, 2, 8, 9, 10] * 4
        assert reader.read([Range(0, 3, 8)]).table.num_rows == 0, "aborted records and markers"
        assert reader.read([Range(0, 8, 9)]).table["offset"].to_pylist() == [8], "it goes on"
        assert reader.read([Range(0, 9, 12), Range(1, 1, 2)]).table["offset"].to_pylist() == [9, 10, 1]
        assert reader.read([Range(0, 1, 2)]).message(0, 1).value() == b"x", "it goes back"
    finally:
        reader.close()
