"""What a user asks for once, done where Kafka is reached.

`python -m streampipeline.oneoff CONFIG ANNOTATION JSON` prints the answer as JSON on standard output.
Exit codes: 0 done; 1 done in part, or what was asked cannot be done right (letters refused, windows whose
records are gone); 2 refused, or not possible; 3 not over in time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from confluent_kafka import KafkaException

from streampipeline import backfill
from streampipeline.api import oneoff
from streampipeline.api.oneoff import Backfill, Dlq, DlqVerb, OneOff
from streampipeline.dlq.letters import Selection, described, letters
from streampipeline.dlq.receipts import Receipts, Stage
from streampipeline.dlq.replay import Replay
from streampipeline.job_file import load_when_there
from streampipeline.jobconfig import JobConfig
from streampipeline.journal import Journal
from streampipeline.logs import configure

log = structlog.get_logger(__name__)

RIGHT, PARTLY, REFUSED, NOT_IN_TIME = 0, 1, 2, 3
WAIT_SECONDS = 3600.0


@dataclass(frozen=True)
class Answer:
    """What came of it. `said`: a sentence without anything that records hold, for events."""

    code: int
    said: str
    data: dict[str, Any] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """For output."""
        return {"said": self.said, **self.data}


def answer(config: JobConfig, asked: OneOff, wait_seconds: float = WAIT_SECONDS) -> Answer:
    """Do it. `wait_seconds`: how long a backfill is waited for at most. Raises nothing of Kafka's."""
    try:
        match asked:
            case Backfill():
                return _backfill(config, asked, wait_seconds)
            case Dlq(verb=DlqVerb.LIST):
                return _list(config, asked)
            case Dlq():
                return _replay(config, asked)
    except backfill.BackfillRefused as refused:
        return Answer(REFUSED, str(refused))
    except KeyError:
        return Answer(REFUSED, "a topic of the pipeline does not exist: has the pipeline begun?")
    except KafkaException as error:
        return Answer(REFUSED, f"Kafka at {','.join(config.bootstrap_servers)}: {error.args[0].str()}")
    except TimeoutError as error:
        return Answer(REFUSED, str(error))


def _selection(asked: Dlq) -> Selection:
    return Selection(
        frozenset(asked.reasons),
        frozenset(asked.partitions),
        oneoff.ms(asked.since) if asked.since else None,
    )


def _list(config: JobConfig, asked: Dlq) -> Answer:
    receipts = Receipts(config, Journal(config), "")
    receipts.read()
    reasons: Counter[str] = Counter()
    listed: list[dict[str, Any]] = []
    for letter in letters(config, _selection(asked)):
        reasons[letter.reason] += 1
        if len(listed) < asked.limit:
            replayed = receipts.stage((letter.partition, letter.offset)) is Stage.SENT
            listed.append({**described(letter, contents=asked.show_contents), "replayed": replayed})
    total = reasons.total()
    contents = " with their contents" if asked.show_contents else ""
    return Answer(
        RIGHT,
        f"{len(listed):,} of {total:,} dead letters{contents}",
        {"total": total, "reasons": dict(reasons.most_common()), "letters": listed},
    )


def _replay(config: JobConfig, asked: Dlq) -> Answer:
    replay = Replay(config, again=asked.again, dry_run=asked.dry_run)
    did = replay.run(_selection(asked), asked.limit)
    others = {
        "replayed before": did.already,
        "claimed by another replay (try again in a minute)": did.in_flight,
        **{f"refused as {reason} again": count for reason, count in did.refused.most_common()},
        "refused by the broker": did.failed,
        "not acknowledged by the broker": did.unknown,
    }
    done = "would be replayed" if did.dry_run else "replayed"
    said = ", ".join([f"{did.sent:,} {done}", *(f"{n:,} {what}" for what, n in others.items() if n)])
    return Answer(RIGHT if did.right else PARTLY, said, did.as_data())


def _backfill(config: JobConfig, asked: Backfill, wait_seconds: float) -> Answer:
    start, end = oneoff.ms(asked.start), oneoff.ms(asked.end)
    cost = backfill.check(config, start, end, costly=asked.yes)
    offset = backfill.ask(config, start, end, asked.key)
    cost_data = {"windowsOfEachKey": cost.windows, "recordsToRead": cost.records, "request": offset}
    if wait_seconds <= 0:
        said = f"asked for: {cost.windows:,} windows of each key, {cost.records:,} records to read"
        return Answer(RIGHT, said, cost_data)
    done = backfill.wait(config, offset, wait_seconds)
    if done is None:
        return Answer(
            NOT_IN_TIME,
            f"asked for, and not done within {wait_seconds:g} s: repairs wait while two engines may write, "
            "and for the sink and the model",
            cost_data,
        )
    data = {**cost_data, **done.model_dump(by_alias=True)}
    if done.unscorable:
        return Answer(
            PARTLY, "the model of an older generation does not answer: its windows keep what they have", data
        )
    if done.cut:
        return Answer(PARTLY, "cut: retention has deleted records that its windows may have held", data)
    read = f"{done.records:,} records read in {done.seconds:g} s"
    return Answer(RIGHT, f"{done.windows:,} windows recomputed, {read}", data)


def main() -> int:
    """The command line of a pod. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Do once what a user asks for.")
    parser.add_argument("config", type=Path, help="a JobConfig as JSON")
    parser.add_argument("annotation", choices=list(oneoff.KINDS), help="what kind it is of")
    parser.add_argument("asked", help="the annotation's value")
    parser.add_argument("--summary", type=Path, help="write the sentence to this file too")
    arguments = parser.parse_args()
    configure()
    try:
        asked = oneoff.parse(arguments.annotation, arguments.asked)
        found = answer(load_when_there(arguments.config), asked)
    except Exception as error:
        # Python's own status for a crash is 1, which here says that something was done.
        log.exception("oneoff.failed")
        found = Answer(REFUSED, f"it failed: {type(error).__name__}")
    print(json.dumps(found.as_data(), indent=1), flush=True)
    if arguments.summary is not None:
        arguments.summary.write_text(found.said)
    return found.code


if __name__ == "__main__":
    sys.exit(main())
