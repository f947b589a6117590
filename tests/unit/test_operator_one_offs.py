"""What users have done once: what is taken up, what is remembered, and what is told of its end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.support.kube_double import NAMESPACE, SETTINGS, KubeDouble, StoreWatches, pipeline_of

from streampipeline.api import controls, oneoff
from streampipeline.decide import Observed, State
from streampipeline_operator import kube, one_offs
from streampipeline_operator.desired import dask
from streampipeline_operator.names import EVENT_ANNOTATION, JOBS_DIRECTORY
from streampipeline_operator.status import Memory
from streampipeline_operator.world import World

NAME = "nurse-stress"
LIST = '{"id": "1", "verb": "list"}'
SHOW = '{"id": "1", "verb": "list", "showContents": true}'
REPLAY = '{"id": "1", "verb": "replay"}'
BACKFILL = '{"id": "1", "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "key": "patient-7"}'


def body(**annotations: str) -> dict[str, Any]:
    return {"metadata": {"annotations": annotations}}


def test_each_value_is_taken_up_once_and_that_outlives_the_operator() -> None:
    memory = Memory(State.initial(0))
    there = body(**{controls.DLQ: LIST, controls.BACKFILL: BACKFILL, controls.AUDIT: "a1", "other": "x"})
    new = one_offs.asked(there, memory)
    assert new == {controls.AUDIT: "a1", controls.DLQ: LIST, controls.BACKFILL: BACKFILL}
    after = one_offs.remembered(memory, new)
    assert after.audit == "a1"
    assert one_offs.asked(there, after) == {}
    stored = {"state": after.dump(Observed(), 0)}
    assert "patient-7" not in str(stored)
    known = Memory.load(stored, 0)
    assert known == after
    changed = body(**{controls.DLQ: SHOW, controls.BACKFILL: BACKFILL, controls.AUDIT: "a1"})
    assert one_offs.asked(changed, known) == {controls.DLQ: SHOW}
    assert one_offs.remembered(known, {}) == known


def test_a_memory_of_an_older_operator_has_none() -> None:
    stored = Memory(State.initial(0)).dump(Observed(), 0)
    del stored["oneOffs"]
    assert Memory.load({"state": stored}, 0) == Memory(State.initial(0))


@pytest.mark.parametrize(
    ("annotation", "value", "event"),
    [
        (controls.DLQ, LIST, None),
        (controls.DLQ, SHOW, "DeadLettersShown"),
        (controls.DLQ, REPLAY, "DeadLettersReplayed"),
        (controls.DLQ, '{"id": "1", "verb": "replay", "dryRun": true}', None),
        (controls.BACKFILL, BACKFILL, "BackfillDone"),
    ],
)
def test_the_pod_does_what_the_annotation_says(annotation: str, value: str, event: str | None) -> None:
    asked = oneoff.parse(annotation, value)
    pod = dask.one_off(pipeline_of(), annotation, asked)
    kind = annotation.rpartition("/")[2]
    assert pod["metadata"]["name"] == f"{NAME}-{kind}-1"
    assert pod["metadata"]["labels"][annotation] == "1"
    assert pod["metadata"].get("annotations", {}).get(EVENT_ANNOTATION) == event
    module, file, named, text, *_ = pod["spec"]["containers"][0]["args"][2:]
    assert (module, file, named) == ("streampipeline.oneoff", f"{JOBS_DIRECTORY}/oneoff.json", annotation)
    assert oneoff.parse(annotation, text) == asked


def followed(annotation: str, value: str, **ended: Any) -> tuple[list[tuple[str, str, bool]], KubeDouble]:
    """What is told of a pod that ended, in two turns."""
    api = KubeDouble()
    pod = dask.one_off(pipeline_of(), annotation, oneoff.parse(annotation, value))
    status = {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": ended}}]}
    pod["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    api.put(kube.POD, {**pod, "status": status})
    world = World(api, SETTINGS)
    world.watches = StoreWatches(api)
    told: list[tuple[str, str, bool]] = []
    follower = one_offs.OneOffs(world, NAMESPACE, NAME, lambda *event: told.append(event))
    follower.follow()
    follower.follow()
    return told, api


NOW = "2100-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("annotation", "value", "code", "expected"),
    [
        (controls.BACKFILL, BACKFILL, 0, ("BackfillDone", False)),
        (controls.BACKFILL, BACKFILL, 1, ("BackfillCut", True)),
        (controls.BACKFILL, BACKFILL, 2, ("BackfillRefused", True)),
        (controls.BACKFILL, BACKFILL, 3, ("BackfillPending", True)),
        (controls.DLQ, REPLAY, 0, ("DeadLettersReplayed", False)),
        (controls.DLQ, REPLAY, 1, ("DeadLettersReplayed", True)),
        (controls.DLQ, REPLAY, 2, ("DlqFailed", True)),
        (controls.DLQ, SHOW, 0, ("DeadLettersShown", False)),
    ],
)
def test_its_end_is_told_once(annotation: str, value: str, code: int, expected: tuple[str, bool]) -> None:
    told, api = followed(annotation, value, exitCode=code, message="12 of 12", finishedAt=NOW)
    [(reason, message, warning)] = told
    assert (reason, warning) == expected
    assert message.startswith("12 of 12 (pod nurse-stress-")
    assert ("DELETE", "pods") not in [(method, plural) for method, plural, _ in api.calls]


def test_a_pod_that_says_nothing_is_told_too() -> None:
    told, _ = followed(controls.BACKFILL, BACKFILL, exitCode=137, reason="OOMKilled", finishedAt=NOW)
    assert told == [("BackfillRefused", "pod nurse-stress-backfill-1 ended with 137: its log says why", True)]


def test_a_listing_is_not_told_and_goes_after_a_while() -> None:
    told, api = followed(controls.DLQ, LIST, exitCode=0, message="", finishedAt="2026-01-01T00:00:00Z")
    assert told == []
    assert ("DELETE", "pods", "nurse-stress-dlq-1") in api.calls


def test_what_comes_before_the_beginning_is_refused() -> None:
    told: list[tuple[str, str, bool]] = []
    world = World(KubeDouble(), SETTINGS)
    starter = one_offs.OneOffs(world, NAMESPACE, NAME, lambda *event: told.append(event))
    memory = replace(Memory(State.initial(0)), audit=None)
    starter.start(None, memory, {controls.AUDIT: "a1", controls.DLQ: LIST})  # type: ignore[arg-type]
    assert [reason for reason, _, _ in told] == ["AuditFailed", "DlqFailed"]
