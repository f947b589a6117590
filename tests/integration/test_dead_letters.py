"""Dead letters as a user finds them and sends them back, with a real broker, a real engine and the audit."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.dask_ground import Ground, await_, value_of
from typer.testing import CliRunner

from streampipeline.api import controls, oneoff
from streampipeline.api.oneoff import Dlq, DlqVerb
from streampipeline.cli import app
from streampipeline.deadletters import DeadLetter, DeadLetterWriter
from streampipeline.dlq import receipts as steps
from streampipeline.dlq.letters import Selection, letters
from streampipeline.dlq.receipts import Receipt, Receipts, Stage
from streampipeline.dlq.replay import Replay, headers_of_replay
from streampipeline.jobconfig import JobConfig, TimestampType
from streampipeline.journal import Journal
from streampipeline.oneoff import Answer, answer
from streampipeline.outbox import Outbox
from streampipeline.progress import ProgressReader
from streampipeline.start import origin
from streampipeline_audit import AuditRequest, audit

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

HEADERS: list[tuple[str, bytes | None]] = [("ward", b"4"), ("seen", b"a"), ("seen", b"b"), ("empty", None)]
GOOD = [1.0] * 6


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with Ground.start(Path(tmp_path_factory.mktemp("dlq"))) as ground:
        yield ground


def now() -> int:
    return time.time_ns() // 1_000_000


def produce(ground: Ground, topic: str, values: list[bytes | None], partition: int = 0) -> None:
    producer = ground.producer()
    for value in values:
        producer.produce(topic, key=b"k", value=value, partition=partition, headers=list(HEADERS))
    assert producer.flush(20) == 0


def refused_twice(ground: Ground, topic: str) -> JobConfig:
    """A pipeline whose five bad records were refused by two engines: all but the last for good."""
    pipeline = ground.pipeline(
        topic, TimestampType.LOG_APPEND_TIME, maxFutureSeconds=2, idlePartitionSeconds=1
    )
    at = now()
    produce(ground, topic, [value_of("nurse", at, GOOD)])
    bad = [
        value_of("nurse", at, GOOD)[:-1],
        None,
        value_of("", at, GOOD),
        value_of("nurse", at - 3_700_000, GOOD),
        value_of("nurse", now() + 4_000, GOOD),
    ]
    produce(ground, topic, bad, partition=1)
    began = origin(pipeline)
    for epoch in (1, 2):
        job = ground.first_job(pipeline, began, epoch=epoch)
        ground.driver(job)
        wanted = 5 * epoch
        await_("dead letters", lambda: len(dead_letters(ground, pipeline)) == wanted)  # noqa: B023 - in here
        assert ground.stop() == 0
    return job


def dead_letters(ground: Ground, pipeline: Any) -> list[Any]:
    return ground.read(pipeline.spec.dead_letter.topic, 1)


def ask(job: JobConfig, verb: DlqVerb, **more: Any) -> Answer:
    return answer(job, Dlq(id="1", verb=verb, **more))


@pytest.fixture(scope="module")
def job(ground: Ground) -> JobConfig:
    return refused_twice(ground, "refused")


def test_each_refused_record_is_listed_once_and_without_what_it_holds(job: JobConfig) -> None:
    found = ask(job, DlqVerb.LIST)
    assert (found.code, found.data["total"]) == (0, 5)
    assert [(each["partition"], each["offset"], each["reason"]) for each in found.data["letters"]] == [
        (1, 0, "Undecodable"),
        (1, 1, "Undecodable"),
        (1, 2, "EmptyKey"),
        (1, 3, "TooLate"),
        (1, 4, "TooFarInFuture"),
    ]
    assert found.data["letters"][1] == {
        "reason": "Undecodable", "partition": 1, "offset": 1,
        "timestamp": found.data["letters"][1]["timestamp"],
        "keyBytes": 1, "valueBytes": None, "headers": 4, "replayOf": None, "replayed": False,
    }  # fmt: skip


def test_the_command_on_one_machine_takes_the_file_of_a_job(ground: Ground, job: JobConfig) -> None:
    file = ground.processes.workdir / "1-flink.json"
    file.write_text(job.dump())
    listed = CliRunner().invoke(app, ["dlq", "list", str(file), "--limit", "1", "-o", "json"])
    assert listed.exit_code == 0, listed.output
    assert json.loads(listed.stdout)["reasons"]["Undecodable"] == 2
    sent = CliRunner().invoke(app, ["dlq", "replay", str(file), "--reason", "TooLate", "--dry-run"])
    assert (sent.exit_code, sent.stdout) == (1, "refused: 0 would be replayed, 1 refused as TooLate again\n")
    asked = CliRunner().invoke(app, ["backfill", str(file), "--from", "1h", "--to", "2h"])
    assert (asked.exit_code, "ends before it begins" in asked.output) == (2, True)


def test_letters_are_chosen_and_counted(job: JobConfig) -> None:
    def chosen(**more: Any) -> tuple[int, list[int]]:
        data = ask(job, DlqVerb.LIST, **more).data
        return data["total"], [each["offset"] for each in data["letters"]]

    assert chosen(reasons=["Undecodable", "TooLate"]) == (3, [0, 1, 3])
    assert chosen(partitions=[0]) == (0, [])
    assert chosen(limit=2) == (5, [0, 1])
    assert chosen(since="2100-01-01T00:00:00Z") == (0, [])
    assert chosen(since="2020-01-01T00:00:00Z")[0] == 5


def test_contents_are_shown_when_asked_for(ground: Ground, job: JobConfig) -> None:
    """As the pod of a cluster prints them."""
    asked = oneoff.dump(Dlq(id="1", verb=DlqVerb.LIST, reasons=["EmptyKey"], show_contents=True))
    file = ground.processes.workdir / "asked.json"
    file.write_text(job.dump())
    command = [sys.executable, "-m", "streampipeline.oneoff", str(file), controls.DLQ, asked]
    summary = file.with_suffix(".txt")
    done = subprocess.run(
        [*command, "--summary", str(summary)],
        env=ground.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    (letter,) = json.loads(done.stdout)["letters"]
    original = ground.read("refused", 2)[-3]
    assert base64.b64decode(letter["value"]) == original[3]
    assert base64.b64decode(letter["key"]) == b"k"
    assert letter["headerValues"] == [["ward", "NA=="], ["seen", "YQ=="], ["seen", "Yg=="], ["empty", None]]
    assert letter["value"] not in done.stderr
    assert summary.read_text() == "1 of 1 dead letters with their contents"


def test_what_would_be_refused_again_stays_and_the_rest_counts_once(ground: Ground, job: JobConfig) -> None:
    await_("the last record is not in the future any more", lambda: ask_dry(job) == 1, 20)
    assert len(ground.read("refused", 4)) == 6, "a dry run sends nothing"
    done = ask(job, DlqVerb.REPLAY)
    assert done.code == 1
    assert done.data["sent"] == 1
    assert done.data["refused"] == {"Undecodable": 2, "EmptyKey": 1, "TooLate": 1}
    assert "1 replayed, 2 refused as Undecodable again" in done.said

    again = ask(job, DlqVerb.REPLAY, reasons=["TooFarInFuture"])
    assert (again.code, again.data["sent"], again.data["alreadyReplayed"]) == (0, 0, 1)
    assert ask(job, DlqVerb.LIST).data["letters"][-1]["replayed"] is True

    records = [row for row in ground.read("refused", 4) if row[0] == 1]
    original, copy = records[4], records[5]
    assert copy[3] == original[3]
    assert copy[4] == [*HEADERS, ("streampipeline.replay-of", b"1/4")]

    ground.driver(job)
    deadline = now() + 120_000
    # Far enough for windows that others are in: on a busy machine all before may be late.
    while frontier(job) < copy[2] + 5_000 and now() < deadline:
        produce(ground, "refused", [value_of("other", now(), GOOD)])
        time.sleep(0.2)
    assert ground.stop() == 0
    report = audit(AuditRequest(config=job))
    assert (report.lost, report.doubled, report.differing, report.dead_lettered) == (0, 0, 0, 5), (
        report.examples
    )
    # On time or late, by how long this took: it counts, or is to be repaired.
    assert report.produced == report.counted + report.dead_lettered + report.pending
    assert report.produced > 6


def ask_dry(job: JobConfig) -> int:
    done = ask(job, DlqVerb.REPLAY, dry_run=True, reasons=["TooFarInFuture"])
    return int(done.data["sent"])


def frontier(job: JobConfig) -> int:
    reader = ProgressReader(job)
    try:
        assert reader.settle(10)
        return reader.frontier(1) or 0
    finally:
        reader.close()


def test_a_replay_that_ended_in_the_middle_is_looked_up_not_repeated(ground: Ground) -> None:
    """One of its letters had reached the topic, one had not; a third is being sent by somebody else now."""
    topic = "middle"
    pipeline = ground.pipeline(topic, TimestampType.CREATE_TIME)
    begin = now()
    write_letters(ground, pipeline, [value_of("nurse", begin, GOOD)] * 3)
    sent, lost, going_on = (1, 0), (1, 1), (1, 2)
    journal = Journal(pipeline)
    long_ago = now() - steps.ABANDONED_MS - 1_000
    claims = {sent: long_ago, lost: long_ago, going_on: now() + 600_000}
    journal.write(
        {
            steps.key_of(place): Receipt(stage=Stage.CLAIMED, run="gone", at=at, after=0)
            for place, at in claims.items()
        }
    )
    first = next(letters(pipeline, Selection()))
    producer = ground.producer()
    producer.produce(topic, value=first.value, partition=1, headers=list(headers_of_replay(first)))
    assert producer.flush(20) == 0

    job = ground.first_job(pipeline, origin(pipeline))
    done = ask(job, DlqVerb.REPLAY)
    assert done.data | {"refused": {}} == {
        "dryRun": False, "sent": 1, "alreadyReplayed": 1, "inFlight": 1, "refused": {}, "failed": 0,
        "unknown": 0,
    }  # fmt: skip
    copies = [dict(row[4] or [])["streampipeline.replay-of"] for row in ground.read(topic, 4)]
    assert copies == [b"1/0", b"1/1"]


def test_of_two_claims_the_first_in_the_journal_counts(ground: Ground) -> None:
    pipeline = ground.pipeline("claims", TimestampType.CREATE_TIME)
    one, other = (Receipts(pipeline, Journal(pipeline), run) for run in ("one", "other"))
    one.read()
    other.read()
    assert one.claim([(0, 1), (0, 2)], {0: 7}) == {(0, 1), (0, 2)}
    assert other.claim([(0, 2), (0, 3)], {0: 7}) == {(0, 3)}
    one.settle([(0, 1)], [(0, 2)])
    other.read()
    assert other.stage((0, 1)) is Stage.SENT
    assert other.claim([(0, 2)], {0: 7}) == {(0, 2)}, "it was not sent"


def test_on_a_topic_whose_time_stands_elsewhere_a_copy_does_not_move_its_clock(ground: Ground) -> None:
    """A recording of last year: a record of now would close every window that is open."""
    topic = "recording"
    pipeline = ground.pipeline(topic, TimestampType.CREATE_TIME)
    last_year = now() - 365 * 86_400_000
    producer = ground.producer()
    producer.produce(topic, value=b"bad", partition=1, timestamp=last_year)
    producer.produce(
        topic, value=value_of("nurse", last_year, GOOD), partition=1, timestamp=last_year + 9_000
    )
    assert producer.flush(20) == 0
    write_letters(ground, pipeline, [value_of("nurse", last_year, GOOD)], t=last_year)
    assert Replay(pipeline).run(Selection(), 10).sent == 1
    assert ground.read(topic, 4)[-1][2] == last_year + 9_000
    assert Replay(pipeline).run(Selection(), 10).already == 1
    assert Replay(pipeline, again=True).run(Selection(), 10).sent == 1


def write_letters(ground: Ground, pipeline: Any, values: list[bytes], t: int | None = None) -> None:
    outbox = Outbox(pipeline, lambda: False)
    at = now() if t is None else t
    DeadLetterWriter(pipeline, outbox).write(
        [DeadLetter(1, offset, at, "TooFarInFuture", b"k", value) for offset, value in enumerate(values)]
    )
    outbox.flush()


def test_without_the_broker_it_says_so(job: JobConfig) -> None:
    gone = job.model_copy(update={"bootstrap_servers": ["127.0.0.1:9"]})
    done = ask(gone, DlqVerb.LIST)
    assert done.code == 2
    assert "127.0.0.1:9" in done.said
