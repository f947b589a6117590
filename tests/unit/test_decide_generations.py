"""The change of generation: the old engine is stopped and fenced, then the new one starts at a boundary."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.test_decide import (
    DASK,
    DOWN,
    FLINK,
    START,
    UP,
    W0,
    Pipeline,
    in_fallback,
    in_normal,
    in_resuming,
    job,
)

from streampipeline.api.definition import Definition
from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.decide import Phase, cold, headline
from streampipeline.decide.actions import PlanStart, Repair, Revoke, RunEngine, StopEngine
from streampipeline.decide.facts import frontier
from streampipeline.decide.generations import KEPT
from streampipeline.decide.observed import (
    RETENTION_PASSED,
    Controls,
    Health,
    JobState,
    PlanFailed,
    Probe,
    Progress,
    Writer,
)
from streampipeline.jobconfig import EngineName

V1, V2 = (Probe(health=Health.UP, version=version) for version in ("m-1", "m-2"))
F = W0 + 20_000
ROW = Progress(engine=FLINK, epoch=1, frontier=F, at=START)


def edited(pipeline: Pipeline, *more: dict[str, Any], **model: Any) -> StreamPipelineSpec:
    """The pipeline's spec with more aggregates, and another model."""
    spec = pipeline.spec.model_dump(by_alias=True)
    spec["aggregates"] += more
    spec["model"] |= model
    return StreamPipelineSpec.model_validate(spec)


MAX = {"name": "most", "field": "x", "function": "Max"}
OTHER = {"managed": {"bundled": "m2"}}


def changing(pipeline: Pipeline | None = None, **seen: Any) -> Pipeline:
    """Flink's generation 1 has published up to F; the spec has just been edited."""
    pipeline = pipeline or in_normal()
    pipeline.see(model=V1, progress=(ROW,))
    pipeline.spec = edited(pipeline, MAX, **OTHER)
    pipeline.see(next_model=V2, **seen)
    return pipeline


def stop(pipeline: Pipeline, engine: EngineName, epoch: int) -> None:
    """The engine is seen to have ended, and fenced."""
    before = pipeline.seen.fenced
    pipeline.see(jobs=(), fenced=(*before, Writer(engine=engine, epoch=epoch)))


def test_the_first_assignment_begins_generation_1_with_the_models_version() -> None:
    pipeline = in_normal()
    pipeline.state = pipeline.state.model_copy(
        update={"phase": Phase.STARTUP, "flink": None, "generations": ()}
    )
    pipeline.see(jobs=(), model=DOWN)
    assert not pipeline.asked(PlanStart), "its version would not be known"
    pipeline.see(model=V1)
    pipeline.see(plan=pipeline.plan())
    (first,) = pipeline.state.generations
    assert (first.number, first.boundary, first.offsets, first.model_version) == (1, W0, {0: 0}, "m-1")
    assert first.definition == Definition.of(pipeline.spec)


def test_an_edit_stops_the_engine_and_nothing_starts_before_it_is_fenced() -> None:
    pipeline = changing()
    assert pipeline.phase() is Phase.NORMAL
    assert pipeline.state.flink is None
    assert pipeline.asked(StopEngine) == [StopEngine(engine=FLINK, epoch=1)]
    assert pipeline.asked(Revoke) == [Revoke(engine=FLINK, epoch=1)]
    assert pipeline.condition("Ready") == ("False", "GenerationChanging")
    assert pipeline.condition("GenerationCurrent") == ("False", "GenerationChanging")
    assert "generation 2 follows" in headline(pipeline.state, pipeline.seen, pipeline.now)
    pipeline.see(after=30, jobs=())  # it has ended, but a write of it may still land
    assert not pipeline.asked(PlanStart)
    pipeline.see(fenced=(Writer(engine=FLINK, epoch=1),))
    (asked,) = pipeline.asked(PlanStart)
    assert (asked.engine, asked.generation, asked.clear) == (FLINK, 1, True)
    assert not pipeline.asked(RunEngine)


def test_the_generation_begins_at_the_plans_boundary_and_is_stored_with_its_assignment() -> None:
    pipeline = changing()
    stop(pipeline, FLINK, 1)
    epoch = pipeline.state.epoch
    decision = pipeline.see(plan=pipeline.plan(boundary=F))
    old, new = pipeline.state.generations
    assert (old.number, new.number, new.boundary, new.offsets) == (1, 2, F, {0: 7})
    assert (old.model_version, new.model_version) == ("", "m-2")
    assert new.definition == Definition.of(pipeline.spec)
    assert pipeline.state.flink is not None
    assigned = pipeline.state.flink.assignment
    assert (assigned.generation, assigned.boundary, assigned.epoch) == (2, F, epoch)
    assert [event.reason for event in decision.events] == ["GenerationStarted"]
    assert "generation 2" in decision.events[0].message
    pipeline.see(model=V2, next_model=Probe())
    assert [run.assignment.generation for run in pipeline.asked(RunEngine)] == [2]
    assert pipeline.condition("GenerationCurrent") == ("True", "GenerationInForce")


def test_a_row_of_the_old_generation_does_not_move_the_new_ones_frontier() -> None:
    pipeline = changing()
    stop(pipeline, FLINK, 1)
    pipeline.see(plan=pipeline.plan(boundary=F))
    late = ROW.model_copy(update={"frontier": F + 50_000})
    pipeline.see(progress=(late,), model=V2, jobs=(job(FLINK, pipeline.state.epoch),))
    pipeline.see(
        repairs=pipeline.seen.repairs.model_copy(update={"pending": 1, "rewound": 9}),
    )
    assert [repair.until for repair in pipeline.asked(Repair)] == [F]


def test_a_generation_without_progress_and_engine_is_at_its_boundary() -> None:
    pipeline = changing()
    stop(pipeline, FLINK, 1)
    pipeline.see(plan=pipeline.plan(boundary=F))
    pipeline.spec = pipeline.spec.model_copy(update={"suspend": True})
    pipeline.see(model=V2)
    stop(pipeline, FLINK, pipeline.state.epoch)
    assert pipeline.state.retiring == ()
    assert frontier(pipeline.seen, pipeline.state) == F


def test_latency_of_the_change_triggers_nothing_and_later_latency_does() -> None:
    pipeline = changing()
    pipeline.checks(20, 20, 20, 20)
    assert pipeline.phase() is Phase.NORMAL
    stop(pipeline, FLINK, 1)
    pipeline.see(plan=pipeline.plan(boundary=F))
    pipeline.see(model=V2, jobs=(job(FLINK, pipeline.state.epoch),))
    assert pipeline.checks(30, 31, 32, 33, 34) is Phase.NORMAL
    assert pipeline.checks(3) is Phase.NORMAL
    assert pipeline.checks(20, 20, 20) is Phase.TRIGGERING


def test_an_engine_that_does_not_catch_up_in_two_minutes_is_judged() -> None:
    pipeline = changing()
    stop(pipeline, FLINK, 1)
    pipeline.see(plan=pipeline.plan(boundary=F))
    pipeline.see(model=V2, jobs=(job(FLINK, pipeline.state.epoch),))
    assert pipeline.checks(*range(30, 53)) is Phase.NORMAL
    assert pipeline.checks(60, 61, 62, 63, 64) is Phase.TRIGGERING


def test_a_flink_that_dies_in_the_middle_is_taken_over_from_in_the_new_generation() -> None:
    pipeline = changing()
    stop(pipeline, FLINK, 1)
    pipeline.see(flink=DOWN)
    pipeline.see(plan=pipeline.plan(boundary=F))
    pipeline.see(model=V2)
    pipeline.see(after=11)
    assert pipeline.phase() is Phase.TRIGGERING
    pipeline.see(plan=pipeline.plan(boundary=F))
    assert pipeline.state.dask is not None
    assert pipeline.state.dask.assignment.generation == 2


def test_in_fallback_dask_stays() -> None:
    pipeline = in_fallback()
    pipeline.see()
    pipeline = changing(pipeline)
    assert pipeline.asked(StopEngine) == [StopEngine(engine=DASK, epoch=2)]
    stop(pipeline, DASK, 2)
    assert [plan.engine for plan in pipeline.asked(PlanStart)] == [DASK]
    pipeline.see(plan=pipeline.plan(boundary=F))
    assert pipeline.phase() is Phase.FALLBACK
    assert pipeline.state.dask is not None
    assert pipeline.state.dask.assignment.generation == 2


def test_between_the_engines_a_change_waits() -> None:
    pipeline = in_resuming()
    pipeline.see()
    pipeline.spec = edited(pipeline, MAX)
    pipeline.see(next_model=V2)
    assert pipeline.state.change is None
    assert pipeline.condition("GenerationCurrent") == ("False", "GenerationWaits")
    pipeline.see(jobs=(job(DASK, 2), job(FLINK, 3, JobState.FINISHED)))
    assert pipeline.phase() is Phase.FALLBACK
    pipeline.see()
    assert pipeline.state.change is not None


def test_a_new_model_that_does_not_answer_holds_the_change_up_and_not_the_results() -> None:
    pipeline = in_normal()
    pipeline.spec = edited(pipeline, **OTHER)
    pipeline.see(next_model=DOWN)
    assert pipeline.state.change is None
    assert pipeline.state.flink is not None
    assert pipeline.condition("GenerationCurrent") == ("False", "GenerationWaits")
    assert pipeline.condition("Ready")[0] == "True"


def test_a_new_model_is_the_way_out_of_an_old_one_that_is_down() -> None:
    pipeline = in_normal()
    pipeline.see(model=DOWN)
    assert pipeline.state.frozen_since is not None
    pipeline.spec = edited(pipeline, **OTHER)
    pipeline.see(next_model=V2)
    assert pipeline.state.change is not None
    stop(pipeline, FLINK, 1)
    pipeline.see(plan=pipeline.plan(boundary=F))
    assert pipeline.state.generation == 2


def test_going_on_without_a_model_that_is_down_keeps_its_version() -> None:
    pipeline = in_normal()
    first = pipeline.state.generations[0].model_copy(update={"model_version": "m-1"})
    pipeline.state = pipeline.state.model_copy(update={"generations": (first,)})
    pipeline.see(model=DOWN)
    pipeline.spec = edited(pipeline, onUnavailable={"policy": "UseDefault", "default": 1})
    pipeline.see(next_model=DOWN)
    stop(pipeline, FLINK, 1)
    pipeline.see(plan=pipeline.plan(boundary=F))
    assert [g.model_version for g in pipeline.state.generations] == ["m-1", "m-1"]


def test_edits_in_the_middle_fall_together() -> None:
    pipeline = changing()
    pipeline.spec = edited(pipeline, {"name": "least", "field": "x", "function": "Min"})
    stop(pipeline, FLINK, 1)
    pipeline.see(plan=pipeline.plan(boundary=F))
    assert [g.number for g in pipeline.state.generations] == [1, 2]
    assert pipeline.state.generations[1].definition == Definition.of(pipeline.spec)


def test_an_edit_that_is_taken_back_in_the_middle_makes_no_generation() -> None:
    pipeline = in_normal()
    before = pipeline.spec
    changing(pipeline)
    pipeline.spec = before
    stop(pipeline, FLINK, 1)
    pipeline.see(plan=pipeline.plan(boundary=F))
    assert pipeline.state.generation == 1
    assert pipeline.state.change is None
    assert pipeline.state.flink is not None
    assert pipeline.state.flink.assignment.generation == 1


def test_a_shared_failure_in_the_middle_is_waited_out() -> None:
    pipeline = changing()
    stop(pipeline, FLINK, 1)
    plan = pipeline.plan(boundary=F)
    pipeline.see(sink=DOWN, plan=plan)
    assert pipeline.state.generation == 1
    assert not pipeline.asked(PlanStart)
    pipeline.see(sink=UP)
    assert pipeline.state.generation == 2


def test_without_tokens_the_end_of_the_job_is_waited_for() -> None:
    pipeline = changing(fencing=False)
    assert not pipeline.asked(PlanStart)
    pipeline.see(flink=DOWN, jobs=())
    assert not pipeline.asked(PlanStart), "behind a cluster that is down it may still write"
    pipeline.see(flink=UP)
    assert pipeline.asked(PlanStart)


def test_a_suspended_pipeline_changes_when_it_goes_on() -> None:
    pipeline = changing()
    pipeline.spec = pipeline.spec.model_copy(update={"suspend": True})
    stop(pipeline, FLINK, 1)
    assert pipeline.state.change is None
    assert not pipeline.asked(PlanStart)
    assert pipeline.condition("GenerationCurrent") == ("False", "GenerationWaits")
    pipeline.spec = pipeline.spec.model_copy(update={"suspend": False})
    pipeline.see()
    pipeline.see()
    assert [plan.clear for plan in pipeline.asked(PlanStart)] == [True]
    pipeline.see(plan=pipeline.plan(boundary=F))
    assert pipeline.state.generation == 2


def test_a_run_with_an_edited_file_changes_from_cold() -> None:
    pipeline = in_normal()
    pipeline.see(model=V1, progress=(ROW,))
    pipeline.state = cold(pipeline.state, pipeline.now)
    pipeline.spec = edited(pipeline, MAX)
    pipeline.see(jobs=(), next_model=V2)
    pipeline.see(fenced=(Writer(engine=FLINK, epoch=1),))
    pipeline.see()
    pipeline.see(plan=pipeline.plan(boundary=F))
    assert pipeline.phase() is Phase.STARTUP
    assert pipeline.state.generation == 2


def test_passed_retention_stops_a_change_until_the_loss_is_accepted() -> None:
    pipeline = changing()
    stop(pipeline, FLINK, 1)
    wanted = pipeline.state.wanted
    assert wanted is not None
    gone = PlanFailed(engine=FLINK, epoch=wanted.epoch, reason=RETENTION_PASSED, records_gone=5)
    pipeline.see(plan=gone)
    assert pipeline.state.halt is not None
    pipeline.see(controls=Controls(accept_loss="yes"))
    assert [(plan.accept_loss, plan.clear) for plan in pipeline.asked(PlanStart)] == [(True, True)]
    pipeline.see(plan=pipeline.plan(boundary=F))
    assert pipeline.state.generation == 2


def test_the_oldest_generations_are_forgotten_and_the_origin_moves_on() -> None:
    pipeline = in_normal()
    pipeline.see(model=V1, progress=(ROW,))
    for number in range(2, KEPT + 3):
        pipeline.spec = edited(pipeline, {"name": f"more{number}", "field": "x", "function": "Max"})
        assert pipeline.state.flink is not None
        epoch = pipeline.state.flink.assignment.epoch
        pipeline.see(next_model=V2)
        stop(pipeline, FLINK, epoch)
        pipeline.see(plan=pipeline.plan(boundary=F + number * 5000))
        pipeline.see(model=V2, jobs=(job(FLINK, pipeline.state.epoch),))
    numbers = [generation.number for generation in pipeline.state.generations]
    assert numbers == list(range(3, KEPT + 3))
    assert pipeline.state.origin is not None
    assert pipeline.state.origin.boundary == F + 3 * 5000


@pytest.mark.parametrize("change", [{"timeoutSeconds": 9}, {"attempts": 7}])
def test_how_a_model_is_asked_makes_no_generation(change: dict[str, int]) -> None:
    pipeline = in_normal()
    pipeline.spec = edited(pipeline, **change)
    pipeline.see(next_model=V2)
    assert pipeline.state.change is None
    assert pipeline.condition("GenerationCurrent") == ("True", "GenerationInForce")


def test_a_definition_is_put_into_a_spec_and_found_in_it_again() -> None:
    pipeline = in_normal()
    new = edited(pipeline, MAX, timeoutSeconds=9, **OTHER)
    applied = Definition.of(new).applied(pipeline.spec)
    assert Definition.of(applied) == Definition.of(new)
    assert applied.model.timeout_seconds == pipeline.spec.model.timeout_seconds
    assert Definition.of(pipeline.spec).applied(new).aggregates == pipeline.spec.aggregates
