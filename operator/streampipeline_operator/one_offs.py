"""What users have done once, in pods of their own: audits, dead letters, backfills; by annotations."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from streampipeline.api import controls as control
from streampipeline.api import oneoff
from streampipeline.api.oneoff import NotOneOffError
from streampipeline.sinks.base import SinkUnavailable
from streampipeline_operator import kube
from streampipeline_operator.kube import ApiException, Object
from streampipeline_operator.names import EVENT_ANNOTATION
from streampipeline_operator.resolve import digest_of
from streampipeline_operator.stage import Stage
from streampipeline_operator.status import Memory
from streampipeline_operator.world import World

KEPT_SECONDS = 600.0
"""How long a pod that has ended is kept for whoever reads its log."""
LABELS = (control.AUDIT, *oneoff.KINDS)
SAID_LENGTH = 500
FAILED = {control.AUDIT: "AuditFailed", control.DLQ: "DlqFailed", control.BACKFILL: "BackfillRefused"}
"""Reason of the event about what could not be started, or was refused."""
BACKFILL_ENDED = {0: "BackfillDone", 1: "BackfillCut", 3: "BackfillPending"}
"""By the pod's exit code (`streampipeline.oneoff`)."""
Tell = Callable[[str, str, bool], None]


def asked(body: Object, memory: Memory) -> dict[str, str]:
    """The annotations that were not dealt with, with their values."""
    found = body["metadata"].get("annotations") or {}
    return {
        annotation: str(found[annotation])
        for annotation in LABELS
        if found.get(annotation) and handled(memory, annotation) != told_apart(annotation, found[annotation])
    }


def handled(memory: Memory, annotation: str) -> str | None:
    """What `told_apart` gave of the last value that was dealt with."""
    return memory.audit if annotation == control.AUDIT else memory.one_offs.get(annotation)


def told_apart(annotation: str, value: str) -> str:
    """What is remembered of a value. Of a backfill's no key may stand in the status."""
    return value if annotation == control.AUDIT else digest_of(value)


def remembered(memory: Memory, new: Mapping[str, str]) -> Memory:
    """The memory once `new` is dealt with."""
    others = {name: told_apart(name, value) for name, value in new.items() if name != control.AUDIT}
    audit = new.get(control.AUDIT, memory.audit)
    return replace(memory, audit=audit, one_offs={**memory.one_offs, **others})


class OneOffs:
    """Of one pipeline."""

    def __init__(self, world: World, namespace: str, name: str, tell: Tell) -> None:
        self._world = world
        self._namespace, self._name = namespace, name
        self._tell = tell

    def start(self, stage: Stage, memory: Memory, new: Mapping[str, str]) -> None:
        """Make the pods of what was asked for; of what cannot be, an event says why."""
        for annotation, value in new.items():
            problem = self._start(stage, memory, annotation, value)
            if problem:
                self._tell(FAILED[annotation], problem, True)

    def _start(self, stage: Stage, memory: Memory, annotation: str, value: str) -> str:
        if memory.state.origin is None:
            return "the pipeline has not begun: there is nothing to do it with"
        try:
            if annotation != control.AUDIT:
                stage.one_off(memory.state, annotation, oneoff.parse(annotation, value))
            elif not re.fullmatch(r"[a-z0-9]{1,20}", value):
                return f"{control.AUDIT} must be 1 to 20 lower-case letters and digits"
            else:
                stage.audit(memory.state, value)
        except (ApiException, SinkUnavailable, NotOneOffError) as error:
            return str(error)
        return ""

    def follow(self) -> None:
        """Tell what came of them, and remove pods that ended a while ago. Raises ApiException."""
        oldest = datetime.now(UTC) - timedelta(seconds=KEPT_SECONDS)
        for pod in self._world.watches.children(kube.POD, self._namespace, self._name):
            metadata = pod["metadata"]
            annotation = next((label for label in LABELS if label in metadata["labels"]), None)
            ended = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
            if annotation is None or not ended or metadata.get("deletionTimestamp"):
                continue
            if EVENT_ANNOTATION in (metadata.get("annotations") or {}):
                self._tell(*_event(annotation, pod))
                changes = {"metadata": {"annotations": {EVENT_ANNOTATION: None}}}
                self._world.api.merge(kube.POD, self._namespace, metadata["name"], changes)
            elif _ended_at(pod) < oldest:
                self._world.api.delete(kube.POD, self._namespace, metadata["name"])


def _event(annotation: str, pod: Object) -> tuple[str, str, bool]:
    """Reason, message, whether it is a warning."""
    wanted = pod["metadata"]["annotations"][EVENT_ANNOTATION]
    statuses = pod["status"].get("containerStatuses") or [{}]
    ended = (statuses[0].get("state") or {}).get("terminated") or {}
    code, said = int(ended.get("exitCode", -1)), str(ended.get("message") or "")[:SAID_LENGTH]
    name = pod["metadata"]["name"]
    if not said:
        return FAILED[annotation], f"pod {name} ended with {code}: its log says why", True
    reasons = BACKFILL_ENDED if annotation == control.BACKFILL else dict.fromkeys((0, 1), wanted)
    return reasons.get(code, FAILED[annotation]), f"{said} (pod {name})", code != 0


def _ended_at(pod: Object) -> datetime:
    """When its container ended; else, when it was made."""
    for status in pod["status"].get("containerStatuses") or []:
        finished = ((status.get("state") or {}).get("terminated") or {}).get("finishedAt")
        if finished:
            return datetime.fromisoformat(finished)
    return datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
