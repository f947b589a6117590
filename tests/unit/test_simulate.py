"""`streampipeline simulate`: what it takes from a recording, what it assumes, what it says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.traces import (
    DASK,
    ENGINES,
    FLINK,
    MINUTE,
    SECOND,
    START,
    between,
    row,
    rows,
    running,
    spec,
)
from typer.testing import CliRunner, Result

from streampipeline.api.spec import Failover
from streampipeline.cli import app
from streampipeline.decide import Observed, Phase, State, decide
from streampipeline.decide.observed import Health, Job, JobState, Probe
from streampipeline.decide.state import TriggerKind
from streampipeline.simulate.engines import arrival_rate, dask_starts, flink_starts
from streampipeline.simulate.replay import begun, replay
from streampipeline.simulate.summary import Timeline, difference, recorded
from streampipeline.simulate.trace import EngineSeen, Header, Row, Trace, TraceError, TraceWriter, row_of

OBJECTIVE = 15 * SECOND
SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "nurse-stress.yaml"
HEADER = Header(pipeline="p", failover=Failover())
STARTING = EngineSeen(job=JobState.STARTING)
GONE = EngineSeen(job=JobState.ABSENT)


def simulated(made: Sequence[Row], **failover: Any) -> Timeline:
    return replay(made, spec(**failover), ENGINES, OBJECTIVE)


def slow(ms: int) -> Row:
    """Flink stands still from one minute on; in the recording Dask takes over 50 s later and keeps up."""
    behind = 2 * SECOND if ms < MINUTE else ms - MINUTE
    if ms < MINUTE + 50 * SECOND:
        return row(ms, behind)
    return row(
        ms,
        SECOND,
        phase=Phase.FALLBACK,
        active=DASK,
        trigger=TriggerKind.LATENCY,
        flink=None,
        dask=running(SECOND),
        dask_cluster=Health.UP,
        workers=2,
        workers_wanted=2,
    )


def phases(timeline: Timeline) -> list[tuple[float, str]]:
    """(seconds, phase) of each transition."""
    return [((each.at - START) / 1000, each.phase.value) for each in timeline.transitions]


def written(folder: Path, made: Sequence[Row]) -> Path:
    path = folder / "deep" / "trace.jsonl"
    writer = TraceWriter(path, HEADER)
    for each in made:
        writer.add(each)
    writer.close()
    return path


class TestWorld:
    def test_what_the_recorded_engine_did_is_followed_to_the_ms(self) -> None:
        # Up and down, and once by more than time passes.
        latencies = [0, 700, 2300, 0, 12_000, 13_000, 400, 90_000, 100]
        made = rows(8 * SECOND, lambda ms: row(ms, latencies[ms // SECOND]))
        seen: list[int | None] = []
        replay(made, spec(), ENGINES, OBJECTIVE, watch=lambda look, _: seen.append(look.latency_ms))
        assert seen == latencies

    def test_a_lower_threshold_switches_earlier_and_what_follows_is_assumed(self) -> None:
        made = rows(5 * MINUTE, slow)
        usual, early = simulated(made), simulated(made, latencySeconds=9, resumeLatencySeconds=8)
        assert usual.takeovers == early.takeovers == {TriggerKind.LATENCY: 1}
        assert phases(usual)[0] == (90, "Triggering")  # above 15 s at the checks of 80, 85 and 90 s
        assert phases(early)[0] == (80, "Triggering")
        assert early.figures.highest < usual.figures.highest
        assert early.figures.above < usual.figures.above

    def test_a_flink_taken_away_for_its_latency_stays_as_slow_until_the_recording_gives_it_work(self) -> None:
        mended = 6 * MINUTE

        def make(ms: int) -> Row:
            return slow(ms) if ms < mended else row(ms)

        timeline = simulated(rows(10 * MINUTE, make))
        assert timeline.count("ResumeAbandoned") >= 1
        back = [at for at, phase in phases(timeline) if phase == "Normal"]
        assert len(back) == 1
        assert back[0] * SECOND > mended

    @pytest.mark.parametrize(("silent", "highest"), [(False, 41 * SECOND), (True, 0)])
    def test_without_an_engine_latency_grows_unless_nothing_comes(self, silent: bool, highest: int) -> None:
        def make(ms: int) -> Row:
            # Its last work is of the look before.
            made = row(ms, 0, flink_cluster=Health.DOWN if ms >= MINUTE else Health.UP)
            return made.model_copy(update={"records": 7}) if silent else made

        timeline = simulated(rows(MINUTE + 40 * SECOND, make), primaryRecoverySeconds=600, violations=100)
        assert timeline.figures.highest == highest

    @pytest.mark.parametrize(("survives", "takeovers"), [(True, 0), (False, 1)])
    def test_a_job_outlives_its_cluster_as_the_recorded_one_did(self, survives: bool, takeovers: int) -> None:
        def make(ms: int) -> Row:
            if between(ms, MINUTE, MINUTE + 5 * SECOND):
                return row(ms, flink_cluster=Health.DOWN, flink=EngineSeen(job=JobState.UNKNOWN))
            dead = not survives and between(ms, MINUTE, 2 * MINUTE)
            return row(ms, flink=GONE) if dead else row(ms)

        assert simulated(rows(3 * MINUTE, make)).takeovers.total() == takeovers

    def test_a_drill_in_the_recording_is_held_and_one_from_before_is_not(self) -> None:
        made = rows(3 * MINUTE, lambda ms: row(ms, drill="two" if ms > MINUTE else "one"))
        assert simulated(made).takeovers == {TriggerKind.DRILL: 1}

    def test_it_begins_in_startup_or_in_fallback_too(self) -> None:
        starts = rows(2 * MINUTE, lambda ms: row(ms, 0, phase=Phase.STARTUP, active=None, flink=None))
        assert [phase for _, phase in phases(simulated(starts))] == ["Normal"]

        made = rows(4 * MINUTE, lambda ms: slow(3 * MINUTE + ms).model_copy(update={"at": START + ms}))
        began = begun([row(-1000, phase=Phase.TRIGGERING), *made])
        assert began == made
        assert phases(simulated(began))[0][1] == "Resuming"


class TestAssumptions:
    def test_starts_are_read_off_the_recording(self) -> None:
        def make(ms: int) -> Row:
            if ms < 7 * SECOND:
                return row(ms, flink=None if ms < 2 * SECOND else STARTING)
            seen: dict[str, Any] = {"workers_wanted": 2} if ms >= 20 * SECOND else {}
            if ms >= 25 * SECOND:
                seen["dask"] = STARTING if ms < 33 * SECOND else running(0)
            return row(ms, **seen)

        made = tuple(rows(40 * SECOND, make))
        assert flink_starts(made).seconds(20) == (5.0, "trace, median of 1")
        assert dask_starts(made).seconds(10) == (13.0, "trace, median of 1")
        assert arrival_rate(made) == 600

    def test_a_dask_that_stood_by_and_a_flink_that_was_given_up_are_bounds(self) -> None:
        def make(ms: int) -> Row:
            seen: dict[str, Any] = {"flink": STARTING if between(ms, SECOND, 31 * SECOND) else None}
            if ms >= 8 * SECOND:
                seen["dask"] = STARTING if ms < 9 * SECOND else running(0)
            return row(ms, workers_wanted=2 if ms else 0, **seen)

        made = tuple(rows(40 * SECOND, make))
        assert flink_starts(made).seconds(20) == (30.0, "trace, given up after so long")
        assert flink_starts(made).seconds(60) == (60, "default")
        assert dask_starts(made).seconds(10) == (8.0, "trace, at most")
        assert dask_starts(made).seconds(5) == (5, "default")


class TestTrace:
    def test_it_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        made = [*rows(3 * SECOND, slow), slow(3 * MINUTE)]
        path = written(tmp_path, made)
        assert Trace.read(path) == Trace(HEADER, tuple(made))
        with path.open("a") as file:
            file.write('{"at": 17')  # a run that was killed
        assert len(Trace.read(path).rows) == len(made)

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda lines: [], "it is empty"),
            (lambda lines: lines[1:], "line 1: "),
            (lambda lines: [lines[0].replace('"trace":1', '"trace":2'), *lines[1:]], "line 1: trace"),
            (lambda lines: [*lines[:2], "{}"], "line 3: at: Field required"),
            (lambda lines: [*lines, lines[1]], "line 5: `at` is not after"),
            (lambda lines: lines[:2], "holds 1 looks"),
        ],
    )
    def test_what_is_no_trace_is_refused_with_the_line(self, tmp_path: Path, spoil: Any, said: str) -> None:
        path = written(tmp_path, rows(2 * SECOND, row))
        lines = spoil(path.read_text().splitlines())
        path.write_text("".join(line + "\n" for line in lines))
        with pytest.raises(TraceError, match=said):
            Trace.read(path)

    def test_a_row_holds_what_was_seen_and_no_text_of_a_probe(self) -> None:
        secret = Probe(health=Health.DOWN, message="refused for patient-7")
        up = Probe(health=Health.UP)
        state = State.initial(START)
        observed = Observed(
            kafka=up,
            sink=secret,
            model=up,
            flink=up,
            latency_ms=7,
            jobs=(Job(engine=FLINK, epoch=1, state=JobState.FAILING, failure="patient-8"),),
        )
        found = row_of(START, observed, decide(observed, state, START, spec()), {0: 5, 1: 6}, spec())
        assert (found.sink, found.latency_ms, found.records) == (Health.DOWN, 7, 11)
        assert found.events == ("Waiting",)
        assert "patient" not in found.model_dump_json()


class TestSummary:
    def test_the_recording_is_told_from_its_rows(self) -> None:
        made = rows(5 * MINUTE, slow)
        told = recorded(made, OBJECTIVE)
        assert phases(told) == [(110, "Fallback")]
        assert told.figures.phases == {Phase.NORMAL: 110 * SECOND, Phase.FALLBACK: 190 * SECOND}
        assert told.figures.above == 34 * SECOND
        assert told.figures.highest == 49 * SECOND
        assert told.figures.workers == 380 * SECOND

    def test_two_runs_are_the_same_or_part_somewhere(self) -> None:
        made = rows(3 * MINUTE, slow)
        one, early = simulated(made), simulated(made, latencySeconds=9, resumeLatencySeconds=8)
        never = simulated(made, latencySeconds=600)
        assert difference({"a": one, "b": one}, START).startswith("the same 3 transitions, at most 0 s")
        assert difference({"a": one, "b": early}, START) == "the same 3 transitions, at most 10 s apart"
        assert difference({"a": one, "b": never}, START) == (
            "the same up to transition 0, then a: Triggering (Latency) at +1m30s; b: no more"
        )
        assert difference({"a": never, "b": never}, START) == "no transition in either"


class TestCommand:
    @pytest.fixture
    def files(self, tmp_path: Path) -> tuple[str, str]:
        return str(SAMPLE), str(written(tmp_path, rows(5 * MINUTE, slow)))

    @staticmethod
    def run(files: tuple[str, str], *options: str) -> Result:
        return CliRunner().invoke(app, ["simulate", files[0], "--trace", files[1], *options])

    def test_it_sets_the_recording_the_file_and_the_change_side_by_side(self, files: tuple[str, str]) -> None:
        done = self.run(files, "--set", "failover.latencySeconds=600")
        assert done.exit_code == 0, done.output
        for text in (
            "Flink's job starts in 20.0 s (default)",
            "600 records/s arrive on average (trace)",
            "Dask is to take over: latency 30 s above 15 s",
            "RECORDED",
            "latency above 15 s",
            "as the file says and recorded: the same up to transition 0, then recorded: Fallback at +1m50s",
        ):
            assert text in done.output
        assert "Transitions with failover.latencySeconds=600:\n  none" in done.output

    @pytest.mark.parametrize(("form", "parse"), [("json", json.loads), ("yaml", yaml.safe_load)])
    def test_programs_get_data(self, files: tuple[str, str], form: str, parse: Any) -> None:
        done = self.run(files, "--flink-start", "3.5", "-o", form)
        assert done.exit_code == 0, done.output
        data = parse(done.output)
        assert [each["run"] for each in data["runs"]] == ["recorded", "as the file says"]
        assert {"what": "Flink's job starts in 3.5 s", "from": "option"} in data["assumptions"]
        simulated = data["runs"][1]
        assert simulated["takeovers"] == {"Latency": 1}
        assert sum(simulated["phaseSeconds"].values()) == simulated["seconds"] == 300
        assert simulated["transitions"][0]["afterSeconds"] == 90

    @pytest.mark.parametrize(
        ("option", "said"),
        [
            ("window.tumbling.sizeSeconds=9", "has no effect on a simulation"),
            ("failover.latencySeconds=5", "resumeLatencySeconds"),
            ("failover.latency=5", "did you mean"),
        ],
    )
    def test_a_change_that_cannot_be_simulated_is_refused(
        self, files: tuple[str, str], option: str, said: str
    ) -> None:
        done = self.run(files, "--set", option)
        assert done.exit_code == 2
        assert said in done.output

    def test_a_trace_that_is_none_is_refused(self, files: tuple[str, str]) -> None:
        done = self.run((files[0], files[0]))
        assert done.exit_code == 2
        assert "line 1" in done.output
        assert self.run((files[0], files[0] + ".none")).exit_code == 2
