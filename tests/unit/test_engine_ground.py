"""The ground's own work, its neighbours being doubles: fences, rewinds, and where an engine starts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from confluent_kafka import TopicPartition
from tests.support.publish_config import influxdb_sink, job_config

from streampipeline import engine_ground, planner, start
from streampipeline.api.definition import Definition
from streampipeline.decide import Observed, State
from streampipeline.decide import actions as act
from streampipeline.decide.observed import Health, PlanFailed, Probe, StartPlan, Writer
from streampipeline.decide.state import Live
from streampipeline.engine_ground import EngineGround
from streampipeline.jobconfig import (
    Assignment,
    EngineName,
    Generation,
    JobConfig,
    Origin,
    PipelineConfig,
)
from streampipeline.place import JobFiles, Place
from streampipeline.probes.pipeline import PipelineLook
from streampipeline.progress import ProgressKey, ProgressRow
from streampipeline.requests import RepairReason, RepairRequest
from streampipeline.sinks.base import SinkAdmin
from streampipeline.start import RetentionPassed

FLINK, DASK, REPAIR = EngineName.FLINK, EngineName.DASK, EngineName.REPAIR
ORIGIN = Origin(boundary=5_000, offsets={0: 3})


@dataclass
class Neighbours:
    """Place, sink, probes and consumer in one: what the ground does to them is noted in order."""

    files: JobFiles
    did: list[tuple[object, ...]] = field(default_factory=list)
    may_fence: bool = True
    rows: tuple[ProgressRow, ...] = ()
    repaired: int | None = None
    answers: bool = True

    # Of a place

    def repairing(self) -> bool:
        return False

    def start_repair(self, epoch: int, until: int) -> None:
        if not self.answers:
            raise RuntimeError("nobody answers")
        self.did.append(("repair", epoch, until))

    def deliver(self, engine: EngineName, epoch: int) -> None:
        """Nobody looks."""

    def end_repair(self) -> None:
        self.did.append(("end repair",))

    def withdraw(self, engine: EngineName, epoch: int) -> None:
        self.did.append(("withdraw", engine, epoch))

    def windows_cut(self) -> int:
        return 0

    def repairs_unscorable(self) -> int:
        return 0

    # Of a sink's administrator

    def issue(self, epoch: int, engine: EngineName, token_file: Path) -> bool:
        del epoch, engine, token_file
        return self.may_fence

    def revoke(self, epoch: int, engine: EngineName, token_file: Path) -> bool:
        assert token_file == self.files.token(engine, epoch)
        self.did.append(("revoke", engine, epoch))
        return self.may_fence

    def clear(self, pipeline: str, start: int, *, epoch: int, token_file: Path) -> None:
        assert token_file.name.startswith("."), "it is not for engines"
        self.did.append(("clear", pipeline, start, epoch))

    def health(self) -> Probe:
        return Probe(health=Health.UP if self.answers else Health.UNKNOWN)

    # Of the probes

    look = PipelineLook(repairs_pending=5)

    def observed(self, _: State) -> Observed:
        return Observed()

    def progress(self) -> Mapping[ProgressKey, ProgressRow]:
        return {(row.generation, row.epoch, row.engine): row for row in self.rows}

    def repairs_committed(self) -> int | None:
        return self.repaired

    # Of a consumer

    def commit(self, offsets: Iterable[TopicPartition], asynchronous: bool) -> None:
        self.did.append(("commit", [(each.topic, each.partition, each.offset) for each in offsets]))

    def close(self) -> None:
        """Nothing is open."""

    # Of the repairs topic

    def write(self, requests: Sequence[RepairRequest]) -> None:
        self.did.append(("request", [(each.reason, each.start, each.end) for each in requests]))


@pytest.fixture
def config(tmp_path: Path) -> JobConfig:
    return job_config(influxdb_sink("http://127.0.0.1:9", tmp_path))


@pytest.fixture
def neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Neighbours:
    made = Neighbours(JobFiles(tmp_path, tmp_path))
    monkeypatch.setattr(engine_ground, "Sight", lambda *_: made)
    for name in ("PipelineProbe", "consumer", "RequestWriter"):
        monkeypatch.setattr(planner, name, lambda *_: made)
    return made


@pytest.fixture
def ground(config: JobConfig, neighbours: Neighbours) -> EngineGround:
    return EngineGround(config, cast("Place", neighbours), config.sink, cast("SinkAdmin", neighbours))


def fenced(ground: EngineGround) -> tuple[Writer, ...]:
    return ground.observe(State.initial(0)).fenced


def test_a_fence_stands_in_the_sink_before_it_is_reported(
    ground: EngineGround, neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what the sink took in before it has had its time to land: the sink's own time-out, 1 s here."""

    def wait(seconds: float) -> None:
        assert fenced(ground) == ()
        neighbours.did.append(("wait", seconds))

    monkeypatch.setattr(time, "sleep", wait)
    ground.carry_out(act.Revoke(engine=DASK, epoch=7))
    assert neighbours.did == [
        ("revoke", DASK, 7),
        ("withdraw", DASK, 7),
        ("revoke", REPAIR, 7),
        ("withdraw", REPAIR, 7),
        ("wait", 1),
    ]
    assert fenced(ground) == (Writer(engine=DASK, epoch=7),)
    ground.carry_out(act.Revoke(engine=DASK, epoch=7))
    assert len(neighbours.did) == 5, "once is enough"


def test_what_a_retired_engine_has_written_without_a_new_partition_is_repaired(
    ground: EngineGround, neighbours: Neighbours, config: JobConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have written windows after the engine that reads the new partition."""

    def published_without(_: object, known: Iterable[int]) -> tuple[int, int]:
        assert list(known) == [0]
        assert fenced(ground) == (), "asked for before anybody may repair"
        return 1_000, 5_000

    assignment = Assignment(engine=DASK, epoch=8, generation=1, boundary=10_000, offsets={0: 40})
    neighbours.files.config(DASK, 8).write_text(config.model_copy(update={"assignment": assignment}).dump())
    monkeypatch.setattr(start, "published_without", published_without)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    ground.observe(State.initial(0))
    ground.carry_out(act.Revoke(engine=DASK, epoch=8))
    assert neighbours.did[-1] == ("request", [(RepairReason.DROPPED, 1_000, 5_000)])
    assert fenced(ground) == (Writer(engine=DASK, epoch=8),)


def test_a_sink_without_fences_is_said(
    ground: EngineGround, neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert ground.observe(State.initial(0)).fencing
    neighbours.may_fence = False
    ground.carry_out(act.Revoke(engine=DASK, epoch=7))
    assert not ground.observe(State.initial(0)).fencing


@pytest.mark.parametrize(("repaired", "committed"), [(9, True), (4, False), (3, False), (None, False)])
def test_a_rewind_goes_back_only(
    ground: EngineGround, neighbours: Neighbours, config: JobConfig, repaired: int | None, committed: bool
) -> None:
    """To 4, and when the pass that runs has ended: it would commit over it."""
    neighbours.repaired = repaired
    ground.carry_out(act.RewindRepairs(number=1, offset=4))
    commit = [("commit", [(config.repairs_topic, 0, 4)])] if committed else []
    assert neighbours.did == [("end repair",), *commit]
    assert ground.observe(State.initial(0)).repairs.rewound == 1
    ground.carry_out(act.RewindRepairs(number=1, offset=4))
    assert neighbours.did == [("end repair",), *commit], "each number once"


def test_a_pass_that_would_find_the_same_waits_longer(
    neighbours: Neighbours, config: JobConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a silent source keeps a window open; any news of it ends the wait."""
    pipeline = PipelineConfig(**{name: getattr(config, name) for name in PipelineConfig.model_fields})
    ground = EngineGround(pipeline, cast("Place", neighbours), config.sink, cast("SinkAdmin", neighbours))
    now = [1_000.0]
    monkeypatch.setattr(engine_ground, "time", SimpleNamespace(monotonic=lambda: now[0]))
    live = Live(assignment=config.assignment, at=0)
    ground.observe(State.initial(0).model_copy(update={"origin": ORIGIN, "flink": live}))
    begun = []
    for second in range(120):
        now[0] = 1_000.0 + second
        if second == 70:
            neighbours.look = PipelineLook(repairs_pending=6)
        ground.carry_out(act.Repair(until=60_000 if second > 80 else 30_000, generation=1))
        if neighbours.did[-1:] and neighbours.did[-1][0] == "repair":
            begun.append(second)
            neighbours.did.append(("noted",))
    assert begun == [0, 30, 60, 70, 81, 111]

    now[0] = 1_120.0
    neighbours.answers = False
    with pytest.raises(RuntimeError, match="nobody answers"):
        ground.carry_out(act.Repair(until=90_000, generation=1))
    neighbours.answers = True
    ground.carry_out(act.Repair(until=90_000, generation=1))
    assert neighbours.did[-1] == ("repair", config.assignment.epoch, 90_000), (
        "one that did not begin is no pass"
    )


def row(engine: EngineName, epoch: int, frontier: int, generation: int = 1) -> ProgressRow:
    return ProgressRow(
        generation=generation, epoch=epoch, engine=engine, frontier=frontier, windows=1, at=frontier
    )


def planned(ground: EngineGround) -> StartPlan | PlanFailed | None:
    """What is planned for Flink's epoch 9, in generation 1."""
    state = State.initial(0).model_copy(update={"origin": ORIGIN})
    ground.observe(state)
    ground.carry_out(act.PlanStart(engine=FLINK, epoch=9, generation=1))
    return ground.observe(state).plan


def test_an_engine_starts_at_the_newest_frontier_of_its_generation(
    ground: EngineGround, neighbours: Neighbours, config: JobConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the offsets of the engine that set it, or where that one started."""
    asked: list[tuple[int, EngineName | None, dict[int, int]]] = []

    def start_offsets(
        _config: object,
        origin: Origin,
        *,
        frontier: int,
        set_by: EngineName | None,
        started: dict[int, int],
    ) -> dict[int, int]:
        assert origin == ORIGIN
        asked.append((frontier, set_by, started))
        return {0: 70}

    monkeypatch.setattr(start, "start_offsets", start_offsets)
    assignment = Assignment(engine=DASK, epoch=8, generation=1, boundary=10_000, offsets={0: 40})
    neighbours.files.config(DASK, 8).write_text(config.model_copy(update={"assignment": assignment}).dump())
    neighbours.rows = (row(FLINK, 7, 20_000), row(DASK, 8, 30_000), row(FLINK, 9, 90_000, generation=2))
    neighbours.repaired = 12

    plan = planned(ground)

    assert asked == [(30_000, DASK, {0: 40})]
    assert plan == StartPlan(engine=FLINK, epoch=9, boundary=30_000, offsets={0: 70}, repairs_offset=12)


def test_what_was_published_without_a_new_partition_is_repaired(
    ground: EngineGround, neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    def uncounted_of(_: object, new: list[int], boundary: int) -> tuple[int, int]:
        assert new == [1]
        return boundary - 4_000, boundary

    monkeypatch.setattr(start, "start_offsets", lambda *_, **__: {0: 3, 1: 0})
    monkeypatch.setattr(start, "uncounted_of", uncounted_of)
    planned(ground)
    assert neighbours.did == [("request", [(RepairReason.DROPPED, 1_000, 5_000)])]


def test_without_progress_an_engine_starts_at_the_origin(
    ground: EngineGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "start_offsets", lambda *_, started, **__: started)
    plan = planned(ground)
    assert plan == StartPlan(engine=FLINK, epoch=9, boundary=5_000, offsets={0: 3}, repairs_offset=0)


def test_records_that_are_gone_make_no_plan(ground: EngineGround, monkeypatch: pytest.MonkeyPatch) -> None:
    def start_offsets(*_: object, **__: object) -> dict[int, int]:
        raise RetentionPassed({0: 4, 1: 6})

    monkeypatch.setattr(start, "start_offsets", start_offsets)
    plan = planned(ground)
    assert isinstance(plan, PlanFailed)
    assert (plan.engine, plan.epoch, plan.reason) == (FLINK, 9, "RetentionPassed")
    assert plan.records_gone == 10


BEGIN = Origin(boundary=50_000, offsets={0: 30})
"""Of the newest generation."""


def changing(ground: EngineGround, epoch: int = 9) -> StartPlan | PlanFailed | None:
    """What is planned for Flink in a change of generation."""
    state = State.initial(0).model_copy(update={"origin": ORIGIN})
    ground.observe(state)
    ground.carry_out(act.PlanStart(engine=FLINK, epoch=epoch, generation=2, begin=BEGIN, clear=True))
    return ground.observe(state).plan


def test_a_generation_without_progress_starts_where_it_began(
    ground: EngineGround, neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "start_offsets", lambda *_, started, **__: started)
    neighbours.rows = (row(FLINK, 7, 90_000),)
    plan = changing(ground)
    assert plan == StartPlan(engine=FLINK, epoch=9, boundary=50_000, offsets={0: 30}, repairs_offset=0)


def test_what_stands_above_a_new_generations_boundary_is_removed_before_it_begins(
    ground: EngineGround, neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows of 5 s that end after 60 s start at 60 s. Once for each plan."""
    monkeypatch.setattr(start, "start_offsets", lambda *_, started, **__: started)
    neighbours.rows = (row(FLINK, 7, 60_000, generation=2),)
    for _ in range(2):
        assert isinstance(changing(ground), StartPlan)
        assert neighbours.did == [("clear", "nurses", 60_000, 9)]


def test_nothing_is_removed_by_who_may_not_lead_any_more(
    ground: EngineGround, neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "start_offsets", lambda *_, started, **__: started)
    neighbours.answers = False
    with pytest.raises(RuntimeError, match="known to answer"):
        changing(ground)
    assert neighbours.did == []
    assert ground.observe(State.initial(0)).plan is None


def test_a_job_is_told_what_its_own_generation_computes(config: JobConfig, neighbours: Neighbours) -> None:
    """Whatever the spec in force says by then."""
    pipeline = PipelineConfig(**{name: getattr(config, name) for name in PipelineConfig.model_fields})
    ground = EngineGround(pipeline, cast("Place", neighbours), config.sink, cast("SinkAdmin", neighbours))
    definition = Definition.of(config.spec)
    fewer = definition.model_copy(update={"aggregates": definition.aggregates[:2]})
    generation = Generation(number=2, boundary=50_000, offsets={0: 30}, definition=fewer, model_version="m-2")
    assignment = Assignment(engine=DASK, epoch=9, generation=2, boundary=50_000, offsets={0: 30})
    told = ground.configs.engine(assignment, ORIGIN, "token", generation)
    assert [aggregate.name for aggregate in told.spec.aggregates] == ["X", "low"]
    assert (told.model_version, told.generations) == ("m-2", ())
    state = State.initial(0).model_copy(update={"origin": ORIGIN, "generations": (generation,)})
    reader = ground.configs.repair(assignment, state, "token")
    assert [(each.number, each.model_url) for each in reader.generations] == [(2, config.model_url)]
