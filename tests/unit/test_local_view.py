"""What a run shows, as text and as data."""

from __future__ import annotations

import io
import json
import time

import pytest
from rich.console import Console
from tests.support import publish_config

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.decide import Observed, Phase, State
from streampipeline.decide.conditions import conditions
from streampipeline.decide.events import Event
from streampipeline.decide.observed import Health, Job, JobState, Probe
from streampipeline.decide.state import HandOver, Live, TriggerKind
from streampipeline.jobconfig import Assignment, EngineName
from streampipeline.local.status import PhaseChange
from streampipeline.local.view import Frame, JsonView, LiveView, PlainView, Rate, clock, render, summary
from streampipeline.probes.pipeline import PipelineLook

FLINK, DASK = EngineName.FLINK, EngineName.DASK
SPEC = StreamPipelineSpec.model_validate(
    {**publish_config.spec(), "failover": {"latencySeconds": 15, "resumeLatencySeconds": 8}}
)
NOON = 1_700_049_600_000
"""12:00:00 UTC."""
EVENT = Event(at=NOON, reason="FallbackStarted", message="Dask takes over: latency 16.4 s above 15 s")


def live(engine: EngineName, epoch: int) -> Live:
    assignment = Assignment(engine=engine, epoch=epoch, generation=1, boundary=0, offsets={0: 0})
    return Live(assignment=assignment, at=NOON, seen=True, ran=True)


def frame(phase: Phase = Phase.FALLBACK) -> Frame:
    """A run in `phase` that has been through every phase, 75 s into its stream."""
    up = Probe(health=Health.UP)
    observed = Observed(
        kafka=up,
        sink=up,
        model=up,
        flink=up,
        dask=up,
        dask_workers=2,
        jobs=(
            Job(engine=FLINK, epoch=3, state=JobState.STARTING),
            Job(engine=DASK, epoch=2, state=JobState.RUNNING),
        ),
        latency_ms=8_440,
    )
    handed = HandOver(
        trigger=TriggerKind.LATENCY,
        reason="latency 16.4 s above 15 s",
        source=FLINK,
        target=DASK,
        epoch=2,
        decided=NOON - 60_000,
        first_result=NOON - 53_500,
    )
    state = State(
        phase=phase,
        since=NOON - 30_000,
        epoch=3,
        flink=live(FLINK, 3),
        dask=live(DASK, 2),
        active=DASK,
        hand_overs=(handed,),
    )
    state = state.model_copy(update={"conditions": conditions(observed, state, NOON, SPEC)})
    look = PipelineLook(
        written={FLINK: 120, DASK: 45},
        lag={FLINK: 1_234},
        repairs_pending=3,
        dead_letters=17,
        newest_t=NOON - 1_500,
    )
    return Frame(
        now=NOON,
        headline="Dask active for 1m00s: latency 16.4 s above 15 s",
        state=state,
        observed=observed,
        look=look,
        spec=SPEC,
        phases=[PhaseChange(phase=each.value, at=NOON + at * 1000) for at, each in enumerate(Phase)],
        elapsed=75.4,
    )


def empty() -> Frame:
    """The first picture: nothing is known."""
    return Frame(NOON, "Starting", State.initial(NOON), Observed(), PipelineLook(), SPEC, (), None)


def drawn(picture: Frame, *events: tuple[int, Event], said: str = "") -> str:
    console = Console(record=True, width=160, file=io.StringIO())
    console.print(render(picture, 3.25, events, said))
    return console.export_text()


@pytest.mark.parametrize("phase", list(Phase))
def test_the_picture_says_what_a_person_asks_for(phase: Phase) -> None:
    text = drawn(frame(phase), (NOON, EVENT), said="fault: kill-flink@30s+60s")

    assert f"{phase.value}  75 s of stream" in text
    assert "Dask active for 1m00s: latency 16.4 s above 15 s" in text
    timeline = next(line for line in text.splitlines() if "phases" in line)
    assert [timeline.index(f"{each.value} 12:00:0{at}") for at, each in enumerate(Phase)] == sorted(
        timeline.index(each.value) for each in Phase
    )
    assert "8.4 s (hand over above 15 s, hand back below 8 s; newest record 1.5 s old)" in text
    assert "epoch 3 Starting, lag 1234 records, 120 windows" in text
    assert "epoch 2 Running, 2 workers, 45 windows" in text
    assert "3.2 windows/s, 165 in all" in text
    assert "11:59:00 flink to dask-fallback: latency 16.4 s above 15 s, first result after 6.5 s" in text
    assert "17 dead letters, 3 repairs waiting" in text
    assert "ModelReady=True" in text
    assert "12:00:00" in text
    assert "FallbackStarted: Dask takes over" in text
    assert "fault: kill-flink@30s+60s" in text


def test_the_headline_comes_first() -> None:
    lines = drawn(frame()).splitlines()

    assert "Dask active for 1m00s" in lines[1]


def test_a_picture_of_nothing_known_is_drawn_too() -> None:
    text = drawn(empty())

    assert "Starting" in text
    assert "unknown (hand over above 15 s, hand back below 8 s)" in text
    assert "none yet" in text
    assert text.count("at rest") == 2
    assert "of stream" not in text


def test_markup_in_a_message_is_text() -> None:
    event = Event(at=NOON, reason="Down", message="refused: [red]not a colour[/]")

    assert "not a colour" in drawn(frame(), (NOON, event))


def test_the_summary_is_json_with_seconds() -> None:
    said = json.loads(json.dumps(summary(frame(), 3.25)))

    assert said == {
        "at": NOON,
        "headline": "Dask active for 1m00s: latency 16.4 s above 15 s",
        "phase": "Fallback",
        "active": "dask-fallback",
        "latency_seconds": 8.4,
        "lag": {"flink": 1_234},
        "windows": {"flink": 120, "dask-fallback": 45},
        "windows_per_second": 3.2,
        "workers": 2,
        "dead_letters": 17,
        "repairs_pending": 3,
    }


def test_the_summary_says_null_for_what_is_not_known() -> None:
    said = summary(empty(), 0.0)

    assert said["latency_seconds"] is None
    assert said["active"] is None


def test_json_lines_are_one_object_each(capsys: pytest.CaptureFixture[str]) -> None:
    view = JsonView()

    view.say('a "quoted"\nword')
    view.event(NOON, EVENT)
    view.show(frame())
    view.show(frame())  # too soon after the last to be shown
    view.close()

    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [sorted(line)[0] for line in said] == ["message", "at", "active"]
    assert said[0] == {"message": 'a "quoted"\nword'}
    assert said[1] == {"at": NOON, "event": "FallbackStarted", "message": EVENT.message}
    assert said[2]["phase"] == "Fallback"


def test_plain_lines_for_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView()

    view.say("starting Kafka")
    view.event(NOON, EVENT)
    view.show(frame())
    view.close()

    first, second, third = capsys.readouterr().out.splitlines()
    assert first.endswith("s  starting Kafka")
    assert second.endswith(f"s  FallbackStarted: {EVENT.message}")
    assert "Fallback" in third
    assert "latency 8.4 s" in third
    assert "windows: flink 120 dask-fallback 45" in third


def test_the_live_view_shows_the_newest_events_and_may_be_closed_twice() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, record=True, width=160, height=60)
    view = LiveView(console)
    view.say("starting Kafka")
    for number in range(9):
        view.event(NOON, Event(at=NOON, reason=f"Event{number}", message="m"))
    view.show(frame())
    view.close()
    view.close()

    text = console.export_text()
    assert "Event8: m" in text
    assert "Event2: m" not in text
    assert "starting Kafka" in text


def test_the_rate_is_that_of_the_last_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 105.0, 110.0, 120.0, 121.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    rate = Rate()

    seen = [rate.add(total) for total in (500, 520, 520, 520, 525)]

    assert seen == [0.0, 4.0, 2.0, 0.0, 5 / 11]


def test_times_are_utc() -> None:
    assert clock(NOON + 61_500) == "12:01:01"
