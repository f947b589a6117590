"""What a run remembers: written whole, gone on from cold, never under another pipeline's results."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from streampipeline.decide import Phase, State
from streampipeline.decide.state import Live
from streampipeline.jobconfig import Assignment, EngineName, Origin, TimestampType
from streampipeline.local.status import ChangedPipelineError, PhaseChange, Status, StatusFile

ORIGIN = Origin(boundary=5_000, offsets={0: 3})


def assigned(engine: EngineName, epoch: int) -> Live:
    assignment = Assignment(engine=engine, epoch=epoch, generation=1, boundary=5_000, offsets={0: 3})
    return Live(assignment=assignment, at=6_000, seen=True, ran=True)


@pytest.fixture
def file(tmp_path: Path) -> StatusFile:
    return StatusFile(tmp_path / "run" / "state.json")


@pytest.fixture
def stored(file: StatusFile) -> Status:
    """A run that ended in Resuming, with both engines at work."""
    state = State(
        phase=Phase.RESUMING,
        since=7_000,
        epoch=42,
        origin=ORIGIN,
        flink=assigned(EngineName.FLINK, 42),
        dask=assigned(EngineName.DASK, 41),
        active=EngineName.DASK,
        active_since=6_500,
    )
    status = Status(
        uid="cafe", pipeline="p", fingerprint="f", state=state, phases=(PhaseChange(phase="Startup", at=1),)
    )
    file.store(status)
    return status


def test_a_new_directory_gives_a_new_pipeline_and_writes_nothing(file: StatusFile) -> None:
    first, second = (
        file.load("p", "f", TimestampType.LOG_APPEND_TIME),
        file.load("p", "f", TimestampType.LOG_APPEND_TIME),
    )

    assert first.state.phase is Phase.STARTUP
    assert first.state.origin is None
    assert first.uid != second.uid
    assert not file.path.exists()


def test_a_reload_goes_on_cold_no_engine_survived_and_nothing_exact_is_forgotten(
    file: StatusFile, stored: Status
) -> None:
    loaded = file.load("p", "f", TimestampType.LOG_APPEND_TIME)

    assert (loaded.uid, loaded.phases) == (stored.uid, stored.phases)
    state = loaded.state
    assert (state.epoch, state.origin) == (42, ORIGIN)
    assert (state.phase, state.active) == (Phase.STARTUP, None)
    assert (state.flink, state.dask) == (None, None)
    retired = {(r.assignment.engine, r.assignment.epoch, r.fenced) for r in state.retiring}
    assert retired == {(EngineName.FLINK, 42, False), (EngineName.DASK, 41, False)}
    assert state.since > stored.state.since


@pytest.mark.parametrize(("pipeline", "fingerprint"), [("other", "f"), ("p", "other")])
@pytest.mark.usefixtures("stored")
def test_another_pipelines_results_are_not_gone_on_from(
    file: StatusFile, pipeline: str, fingerprint: str
) -> None:
    before = file.path.read_bytes()

    with pytest.raises(ChangedPipelineError, match="--workdir") as refused:
        file.load(pipeline, fingerprint, TimestampType.LOG_APPEND_TIME)

    assert str(file.path.parent) in str(refused.value)
    assert file.path.read_bytes() == before


def test_the_file_is_replaced_whole_and_is_its_owners_alone(file: StatusFile, stored: Status) -> None:
    file.store(stored.model_copy(update={"uid": "beef"}))

    assert file.load("p", "f", TimestampType.LOG_APPEND_TIME).uid == "beef"
    assert [path.name for path in file.path.parent.iterdir()] == ["state.json"]
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
