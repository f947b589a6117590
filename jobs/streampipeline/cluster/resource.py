"""A StreamPipeline as the API server has it, typed: spec, status, and what its operator remembers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.api.status import StreamPipelineStatus
from streampipeline.cluster.client import Object
from streampipeline.cluster.exits import ClusterError
from streampipeline.decide import Observed, State, headline

STALE_MS = 90_000
"""An operator at work writes the status at least every 30 s."""
AnyModel = TypeVar("AnyModel", bound=BaseModel)


@dataclass(frozen=True)
class Memory:
    """What the last stored decision was made from, and what was remembered with it."""

    state: State
    observed: Observed
    at: int
    """When: ms, UTC."""

    @property
    def untouched(self) -> bool:
        """No look at the world yet: the spec was refused, or lacks what it refers to."""
        return self.state.origin is None and self.observed == Observed()


def name_of(body: Object) -> tuple[str, str]:
    """Namespace and name."""
    return body["metadata"]["namespace"], body["metadata"]["name"]


def typed_spec(body: Object) -> StreamPipelineSpec:
    """Raises ClusterError when it does not fit."""
    return _typed(StreamPipelineSpec, body["spec"], "spec")


def typed_status(body: Object) -> StreamPipelineStatus:
    """Empty while no operator has seen the resource. Raises ClusterError when it does not fit."""
    return _typed(StreamPipelineStatus, body.get("status") or {}, "status")


def memory(body: Object) -> Memory | None:
    """None while no operator has seen the resource. Raises ClusterError when it does not fit."""
    stored = (body.get("status") or {}).get("state") or {}
    if not {"decisions", "observed", "at"} <= stored.keys():
        return None
    return Memory(
        _typed(State, stored["decisions"], "status.state.decisions"),
        _typed(Observed, stored["observed"], "status.state.observed"),
        int(stored["at"]),
    )


def required_memory(body: Object) -> Memory:
    """The memory. Raises ClusterError where there is none."""
    found = memory(body)
    if found is None:
        raise ClusterError(f"no operator has seen {'/'.join(name_of(body))} yet: is one running?")
    return found


def sentence(body: Object, found: Memory | None, now: int) -> str:
    """The headline: one sentence about now (ms, UTC)."""
    if found is None:
        return "Not seen by an operator yet"
    if found.untouched:
        ready = found.state.condition("Ready")
        return f"Not started: {ready.message if ready else 'nothing was looked at yet'}"
    said = headline(found.state, found.observed, now)
    return said + (" (asked to stop)" if body["spec"].get("suspend") and not found.state.suspended else "")


def staleness(found: Memory, now: int) -> str:
    """A warning when the status is older than that of an operator at work; else empty."""
    if now - found.at <= STALE_MS:
        return ""
    return f"the status is {(now - found.at) // 1000} s old: is the operator running?"


def _typed(model: type[AnyModel], value: object, place: str) -> AnyModel:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in (place, *first["loc"]))
        raise ClusterError(
            f"{where}: {first['msg']}; was it written by an operator of another version?"
        ) from None
