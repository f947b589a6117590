"""What an operator writes down, and knows again after a restart."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from tests.support.kube_double import pipeline_of

from streampipeline.decide import Observed, Phase, State, decide
from streampipeline.decide.observed import Health, Probe, Progress
from streampipeline.decide.state import Condition, ConditionStatus, HandOver, Live, Retiring, TriggerKind
from streampipeline.jobconfig import Assignment, EngineName, Origin, TimestampType
from streampipeline.probes.pipeline import PipelineLook
from streampipeline_operator.status import (
    ACCEPTED,
    NOT_DEPLOYED,
    Memory,
    nothing_deployed,
    render,
    with_accepted,
)

NOW = 1_700_000_000_123


def assignment(engine: EngineName, epoch: int) -> Assignment:
    return Assignment(engine=engine, epoch=epoch, generation=1, boundary=NOW - 60_123, offsets={0: 3, 1: 5})


FALLBACK = State(
    phase=Phase.FALLBACK,
    since=NOW - 50_000,
    epoch=9,
    origin=Origin(boundary=0, offsets={0: 0, 1: 0}),
    dask=Live(assignment=assignment(EngineName.DASK, 9), at=NOW - 40_000, seen=True),
    retiring=(Retiring(assignment=assignment(EngineName.FLINK, 8)),),
    active=EngineName.DASK,
    reason="latency 16 s above 15 s",
    hand_overs=(
        HandOver(
            trigger=TriggerKind.LATENCY,
            reason="latency 16 s above 15 s",
            source=EngineName.FLINK,
            target=EngineName.DASK,
            epoch=9,
            decided=NOW - 55_000,
            boundary=NOW - 60_123,
            first_result=NOW - 30_000,
        ),
    ),
)


def shown(state: State, observed: Observed | None = None, look: PipelineLook | None = None) -> dict[str, Any]:
    memory = Memory(state, TimestampType.CREATE_TIME)
    return render(memory, observed or Observed(), look or PipelineLook(), 4, NOW)


def test_a_status_is_known_again() -> None:
    assert Memory.load(shown(FALLBACK), NOW + 1) == Memory(FALLBACK, TimestampType.CREATE_TIME)


def test_without_a_status_a_pipeline_begins() -> None:
    statuses: list[dict[str, Any]] = [{}, {"state": {}}, {"conditions": []}]
    for status in statuses:
        assert Memory.load(status, NOW) == Memory(State.initial(NOW), None)


def test_a_status_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError):
        Memory.load({"state": {"decisions": {"phase": "Elsewhere"}}}, NOW)


def test_users_see_where_results_come_from() -> None:
    progress = Progress(engine=EngineName.DASK, epoch=9, frontier=NOW - 20_123, at=NOW - 15_000)
    observed = Observed(progress=(progress,), latency_ms=1_600, dask_workers=2)
    look = PipelineLook(lag={EngineName.DASK: 7}, repairs_pending=3, dead_letters=1)
    status = shown(FALLBACK, observed, look)
    assert status["observedGeneration"] == 4
    assert (status["phase"], status["activeEngine"], status["epoch"]) == ("Fallback", "dask-fallback", 9)
    assert status["frontier"] == NOW - 20_123
    assert (status["latencySeconds"], status["resultAgeSeconds"]) == (2, 20)
    assert status["lag"] == {"dask": 7}
    assert (status["workers"], status["repairsPending"], status["deadLetters"]) == (2, 3, 1)
    [hand_over] = status["handOvers"]
    assert (hand_over["trigger"], hand_over["from"], hand_over["to"]) == (
        "Latency",
        "flink",
        "dask-fallback",
    )
    assert hand_over["boundary"].startswith("2023-11-14T22:12:20")
    assert "completed" not in hand_over


def test_decisions_go_on_from_what_was_read_back() -> None:
    """The epoch never goes back, and the engine that is to be fenced is not forgotten."""
    up = Probe(health=Health.UP)
    observed = Observed(kafka=up, sink=up, model=up)
    memory = Memory.load(shown(FALLBACK), NOW)
    after = decide(observed, memory.state, NOW + 1_000, pipeline_of().spec).state
    assert after.phase is Phase.FALLBACK
    assert after.epoch >= 9
    assert [each.assignment.epoch for each in after.retiring] == [8]


def test_nothing_deployed_says_why_of_every_condition() -> None:
    state = nothing_deployed(State.initial(NOW), ("SecretMissing", "there is no Secret a"), NOW)
    told = {each.type: (each.status.value, each.reason) for each in state.conditions}
    assert told == {
        "Ready": ("False", "SecretMissing"),
        ACCEPTED: ("False", "SecretMissing"),
        **dict.fromkeys(NOT_DEPLOYED, ("Unknown", "NothingDeployed")),
    }
    conditions = decide(Observed(), State.initial(NOW), NOW, pipeline_of().spec).state.conditions
    assert {each.type for each in conditions} == set(told) - {ACCEPTED}


def test_a_condition_keeps_its_time_as_long_as_its_status() -> None:
    refused = ("SecretMissing", "there is no Secret a")
    first = nothing_deployed(State.initial(NOW), refused, NOW)
    other = nothing_deployed(first, ("ConfigMapMissing", "there is no ConfigMap b"), NOW + 9_000)
    for name in ("Ready", ACCEPTED):
        known = other.condition(name)
        assert known is not None
        assert (known.reason, known.last_transition_time) == ("ConfigMapMissing", NOW)
    healed = with_accepted(other, other, None, NOW + 20_000)
    assert healed.condition(ACCEPTED) == Condition(
        type=ACCEPTED,
        status=ConditionStatus.TRUE,
        reason="Accepted",
        message="",
        last_transition_time=NOW + 20_000,
    )
    assert [each.type for each in healed.conditions].count(ACCEPTED) == 1
