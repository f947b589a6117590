"""`status` and `explain` as a user sees them, of a status that the operator has written."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
import yaml
from rich.console import Console, RenderableType
from tests.unit.test_local_view import DASK, FLINK, NOON, SPEC, frame

from streampipeline.api.spec import API_VERSION, KIND
from streampipeline.cluster import explain, status
from streampipeline.cluster.exits import ClusterError
from streampipeline.cluster.options import Output
from streampipeline.cluster.output import emit
from streampipeline.cluster.resource import memory, sentence, staleness, typed_spec, typed_status
from streampipeline.decide import Observed, Phase, State
from streampipeline.decide.explain import explain as rules_of
from streampipeline.jobconfig import Origin
from streampipeline.probes.pipeline import PipelineLook
from streampipeline_operator.status import Memory, nothing_deployed, render

SEEN = NOON + 10_000


def body(phase: Phase = Phase.FALLBACK, **changes: Any) -> dict[str, Any]:
    """A StreamPipeline as the API server has it, looked at ten seconds after noon."""
    picture = frame(phase)
    began = Origin(boundary=NOON - 600_000, offsets={0: 0})
    state = picture.state.model_copy(update={"origin": began, **changes})
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": "nurse", "namespace": "hospital", "uid": "u", "generation": 1},
        "spec": SPEC.model_dump(mode="json", by_alias=True, exclude_none=True),
        "status": render(Memory(state), picture.observed, picture.look, 1, SEEN),
    }


def text(renderable: RenderableType) -> str:
    out = io.StringIO()
    Console(file=out, width=160).print(renderable)
    return out.getvalue()


def test_the_picture_begins_with_the_headline() -> None:
    shown = text(status.picture(body(), NOON + 12_000)).splitlines()
    assert shown[0].startswith("nurse: Dask active for")
    assert any(
        line.startswith("latency") and "8 s (hand over above 15 s, hand back below 8 s)" in line
        for line in shown
    )
    assert any(
        line.startswith("hand-over") and "flink to dask-fallback (Latency): latency 16.4 s" in line
        for line in shown
    )
    assert any(line.startswith("workers") and "2 of Dask" in line for line in shown)
    assert any(line.startswith("seen") and "2s ago" in line for line in shown)


def test_only_conditions_that_are_not_as_they_should_be_are_shown() -> None:
    shown = {condition.type for condition in status.wrong(typed_status(body()))}
    assert "FallbackActive" in shown
    assert "SinkReady" not in shown


def test_a_status_that_nobody_writes_any_more_is_said_to_be_old() -> None:
    found = memory(body())
    assert found is not None
    assert staleness(found, SEEN + 60_000) == ""
    assert "status is 120 s old" in text(status.picture(body(), SEEN + 120_000))


@pytest.mark.parametrize("status_of", [{}, {"conditions": []}])
def test_a_pipeline_that_no_operator_has_seen_says_so(status_of: dict[str, Any]) -> None:
    unseen = {**body(), "status": status_of}
    assert text(status.picture(unseen, NOON)) == "nurse: Not seen by an operator yet\n"
    assert status.as_data(unseen, NOON)["ready"] is False


def test_a_refused_pipeline_says_why_and_not_that_kafka_is_silent() -> None:
    refused = nothing_deployed(State.initial(NOON), ("SecretMissing", "there is no Secret kafka"), NOON)
    seen = {**body(), "status": render(Memory(refused), Observed(), PipelineLook(), 1, NOON)}
    assert sentence(seen, memory(seen), NOON) == "Not started: there is no Secret kafka"
    shown = text(status.picture(seen, NOON))
    assert "Ready=False SecretMissing" in shown
    assert "Unknown" not in shown


def test_data_is_the_status_without_what_is_internal() -> None:
    data = status.as_data(body(), NOON)
    assert "state" not in data
    assert data["phase"] == "Fallback"
    assert data["activeEngine"] == "dask-fallback"
    assert data["seen"] == "2023-11-15T12:00:10Z"
    assert data["handOvers"][0]["to"] == "dask-fallback"


def test_a_table_has_a_line_for_each_pipeline() -> None:
    lines = text(status.overview([body(), body(Phase.NORMAL)], NOON)).splitlines()
    assert lines[0].split() == ["NAME", "READY", "PHASE", "ACTIVE", "LATENCY", "HEADLINE"]
    assert [line.split()[2] for line in lines[1:]] == ["Fallback", "Normal"]


def test_explain_has_the_rules_as_the_decision_saw_them() -> None:
    found = memory(body())
    assert found is not None
    rules = rules_of(found.observed, found.state, found.at, typed_spec(body()))
    assert [rule.name for rule in rules] == ["SharedFailure", "Resume"]
    shown = text(explain._picture(body(), found, rules, SEEN + 3_000))
    assert "Rules of phase Fallback, by the look of 3s ago" in shown
    assert rules[1].inputs.split(",")[0] in shown
    assert "flink to dask-fallback (Latency)" in shown


def test_what_was_seen_names_probes_jobs_and_pins() -> None:
    found = memory(body())
    assert found is not None
    said = explain.seen(found.observed)
    assert "Kafka Up" in said
    assert f"{DASK.value} job of epoch 2 Running" in said
    assert f"{FLINK.value} job of epoch 3 Starting" in said


def test_a_status_of_another_version_is_refused_with_its_field() -> None:
    odd = body()
    odd["status"]["state"]["decisions"]["colour"] = "red"
    with pytest.raises(ClusterError, match=r"status\.state\.decisions\.colour: .*another version"):
        memory(odd)


@pytest.mark.parametrize("output", list(Output))
def test_each_output_is_what_it_says(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    data = {"name": "nurse", "ready": True, "umlaut": "ä"}
    emit(data, "[nurse] ready", output)
    printed = capsys.readouterr().out
    if output is Output.TEXT:
        assert printed == "[nurse] ready\n"
    else:
        assert (json.loads if output is Output.JSON else yaml.safe_load)(printed) == data
