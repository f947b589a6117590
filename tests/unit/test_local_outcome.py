"""What a run says at its end: the report's figures, and the exit code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from streampipeline.decide import Phase, State
from streampipeline.decide.state import HandOver, TriggerKind
from streampipeline.jobconfig import EngineName
from streampipeline.local.outcome import Outcome, report
from streampipeline.local.status import PhaseChange

FLINK, DASK = EngineName.FLINK, EngineName.DASK
CLEAN = {"produced": 10, "lost": 0, "doubled": 0, "differing": 0, "unscored": 2}


def phases(*changes: tuple[str, int]) -> list[PhaseChange]:
    return [PhaseChange(phase=phase, at=at) for phase, at in changes]


def hand_over(target: EngineName, first_result: int | None) -> HandOver:
    source = FLINK if target is DASK else DASK
    return HandOver(
        trigger=TriggerKind.DEATH,
        reason="r",
        source=source,
        target=target,
        epoch=2,
        decided=0,
        first_result=first_result,
    )


def make(
    changes: list[PhaseChange],
    *hand_overs: HandOver,
    faults: Mapping[str, int] | None = None,
    audit: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return report(
        pipeline="p",
        phases=changes,
        state=State(since=0, hand_overs=hand_overs),
        faults=faults or {},
        written={FLINK: 30, DASK: 12},
        producer={"records": 10},
        peak_memory={"kafka": 300},
        audit=audit,
    )


def test_seconds_count_from_the_first_fault() -> None:
    changes = phases(
        ("Startup", 0), ("Normal", 10_000), ("Triggering", 52_000), ("Fallback", 53_260), ("Normal", 99_000)
    )

    said = make(
        changes,
        hand_over(DASK, 58_949),
        hand_over(FLINK, 99_000),
        faults={"kill-flink@70s+60s": 80_000, "kill-flink@30s+60s": 40_000},
    )

    assert said["seconds_to_fallback"] == 13.3
    assert said["seconds_to_first_fallback_result"] == 18.9
    assert said["faults"] == [
        {"fault": "kill-flink@70s+60s", "at": 80_000},
        {"fault": "kill-flink@30s+60s", "at": 40_000},
    ]


def test_what_was_before_the_fault_is_not_its_effect() -> None:
    changes = phases(("Fallback", 5_000), ("Normal", 20_000), ("Fallback", 61_000))

    said = make(
        changes, hand_over(DASK, 6_000), hand_over(DASK, 64_000), faults={"kill-flink@30s+60s": 60_000}
    )

    assert said["seconds_to_fallback"] == 1.0
    assert said["seconds_to_first_fallback_result"] == 4.0


@pytest.mark.parametrize(
    ("faults", "hand_overs"),
    [
        ({}, [hand_over(DASK, 58_949)]),  # a hand-over that no fault caused
        ({"stop-model@1s+9s": 60_000}, []),  # a fault that caused none
        ({"stop-model@1s+9s": 60_000}, [hand_over(DASK, None)]),  # no result yet
        ({"stop-model@1s+9s": 60_000}, [hand_over(FLINK, 70_000)]),
    ],
)
def test_there_are_no_seconds_without_a_fault_and_its_effect(
    faults: dict[str, int], hand_overs: list[HandOver]
) -> None:
    said = make(phases(("Fallback", 53_000)), *hand_overs, faults=faults)

    assert said["seconds_to_fallback"] is None
    assert said["seconds_to_first_fallback_result"] is None


def test_the_report_is_json_with_phases_figures_and_the_audits_keys() -> None:
    said = json.loads(
        json.dumps(make(phases(("Startup", 1), ("Normal", 2)), hand_over(DASK, 3), audit=CLEAN))
    )

    assert said["phases"] == [{"phase": "Startup", "at": 1}, {"phase": "Normal", "at": 2}]
    assert said["windows"] == {"flink": 30, "dask-fallback": 12}
    assert said["producer"] == {"records": 10}
    assert said["peak_memory_mib"] == {"kafka": 300}
    assert said["hand_overs"][0]["target"] == "dask-fallback"
    assert CLEAN.items() <= said.items()


def test_without_an_audit_none_of_its_keys_are_claimed() -> None:
    assert not CLEAN.keys() & make([]).keys()


@pytest.mark.parametrize(
    ("phase", "interrupted", "audit", "code"),
    [
        (Phase.NORMAL, False, CLEAN, 0),
        (Phase.FALLBACK, False, CLEAN, 1),
        (Phase.NORMAL, False, None, 1),
        (Phase.NORMAL, False, {**CLEAN, "lost": 1}, 1),
        (Phase.NORMAL, False, {**CLEAN, "doubled": 1}, 1),
        (Phase.NORMAL, False, {**CLEAN, "differing": 1}, 1),
        (Phase.FALLBACK, True, CLEAN, 0),
        (Phase.STARTUP, True, None, 0),
        (Phase.NORMAL, True, {**CLEAN, "lost": 1}, 1),
    ],
)
def test_the_exit_code_is_0_only_after_a_clean_end(
    phase: Phase, interrupted: bool, audit: dict[str, Any] | None, code: int
) -> None:
    outcome = Outcome(phase=phase, interrupted=interrupted, audit=audit, report={})

    assert outcome.exit_code == code
