"""The course of a drill, and an audit's report, read from what a cluster gives."""

from __future__ import annotations

import json

import pytest

from streampipeline.cluster.audit import WRONG, verdict
from streampipeline.cluster.drill import Course, summary
from streampipeline.cluster.pods import find_json, outcome
from streampipeline.decide.state import HandOver, Phase, State, TriggerKind
from streampipeline.jobconfig import EngineName
from streampipeline_audit.report import AuditReport

FLINK, DASK = EngineName.FLINK, EngineName.DASK
ASKED = 1_700_000_000_000
DRILL = "2023-11-14T22:13:20.000Z"
TO_DASK = HandOver(
    trigger=TriggerKind.DRILL,
    reason=f"drill {DRILL}",
    source=FLINK,
    target=DASK,
    epoch=2,
    decided=ASKED + 500,
)
TO_FLINK = HandOver(
    trigger=TriggerKind.RECOVERED, reason="up", source=DASK, target=FLINK, epoch=3, decided=ASKED + 45_000
)


def state(phase: Phase, since: int, *hand_overs: HandOver, drill: str | None = DRILL) -> State:
    return State(phase=phase, since=ASKED + since, drill=drill, hand_overs=hand_overs)


def test_a_drill_is_followed_to_its_end() -> None:
    course = Course(DRILL, ASKED)
    there = TO_DASK.model_copy(update={"completed": ASKED + 9_000, "first_result": ASKED + 11_200})
    back = TO_FLINK.model_copy(update={"completed": ASKED + 60_400})
    seen = [
        state(Phase.NORMAL, -5_000, drill="an older one"),
        state(Phase.TRIGGERING, 500, TO_DASK),
        state(Phase.TRIGGERING, 500, TO_DASK),
        state(Phase.FALLBACK, 9_000, there),
        state(Phase.RESUMING, 45_000, there, TO_FLINK),
        state(Phase.NORMAL, 60_400, there, back),
    ]
    assert [course.follow(each) for each in seen] == [
        None,
        "Triggering",
        None,
        "Fallback",
        "Resuming",
        "Normal",
    ]
    assert course.outcome == "Completed"
    assert course.as_data()["seconds"] == {
        "decided": 0.5, "firstResult": 11.2, "fallback": 9.0, "resuming": 45.0, "normal": 60.4,
    }  # fmt: skip
    assert summary(course).startswith("drill done: Dask had the work after 9.0 s")


def test_a_hand_back_that_was_tried_twice_counts_by_the_last() -> None:
    course = Course(DRILL, ASKED)
    there = TO_DASK.model_copy(update={"completed": ASKED + 9_000})
    failed = TO_FLINK.model_copy(update={"abandoned": ASKED + 50_000})
    course.follow(state(Phase.FALLBACK, 50_000, there, failed))
    assert course.outcome == ""
    back = TO_FLINK.model_copy(update={"decided": ASKED + 80_000, "completed": ASKED + 90_000})
    course.follow(state(Phase.NORMAL, 90_000, there, failed, back))
    assert (course.outcome, course.seconds["normal"]) == ("Completed", 90.0)


def test_a_drill_that_was_skipped_or_abandoned_says_so() -> None:
    skipped, abandoned = Course(DRILL, ASKED), Course(DRILL, ASKED)
    skipped.follow(state(Phase.RESUMING, 0))
    abandoned.follow(state(Phase.NORMAL, 90_000, TO_DASK.model_copy(update={"abandoned": ASKED + 90_000})))
    assert (skipped.outcome, abandoned.outcome) == ("Skipped", "Abandoned")
    assert "skipped" in summary(skipped)
    assert "abandoned" in summary(abandoned)


REPORT = AuditReport(produced=1_200, counted=1_190, windows_expected=40, pending=10)
REPORT.example("pending", "patient-7", ASKED, "a", "b")
NOISE = '{"event": "audit.reading"}\nTraceback (most recent call last):\n  File "x.py", line 1\n}'


def test_the_report_is_found_among_the_lines_of_standard_error() -> None:
    log = f"{NOISE}\n{REPORT.as_json()}\n{NOISE}\n"
    assert find_json(log, set(WRONG)) == json.loads(REPORT.as_json())


def test_the_report_is_found_when_lines_stand_within_it() -> None:
    first, *rest = REPORT.as_json().splitlines()
    log = "\n".join([first, '{"event": "in between"}', rest[0], "a warning", *rest[1:]])
    assert find_json(log, set(WRONG)) == json.loads(REPORT.as_json())


@pytest.mark.parametrize("log", ["", NOISE, "{\n", "{\n}\n", '{\n "other": 1\n}', REPORT.as_json()[:-1]])
def test_what_is_no_report_is_none(log: str) -> None:
    assert find_json(log, set(WRONG)) is None


def test_the_verdict_is_in_words() -> None:
    assert verdict(json.loads(REPORT.as_json())).startswith("Exact: nothing is lost")
    wrong = AuditReport(produced=10, windows_expected=2, lost=3, differing=1)
    assert (
        verdict(json.loads(wrong.as_json())) == "Not exact: 3 lost, 1 differing in 2 windows of 10 records."
    )
    assert verdict(json.loads(AuditReport().as_json())).startswith("Nothing to judge yet")


def test_the_exit_code_is_that_of_the_container() -> None:
    ended = {"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
    assert outcome({"status": {"containerStatuses": [ended]}}) == (137, "exit code 137, OOMKilled")
    assert outcome({"status": {"phase": "Failed", "reason": "Evicted"}}) == (None, "Evicted")
