"""From what decisions remember and a ground sees to the `.status` that users read, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streampipeline.api.status import (
    StatusCondition,
    StatusHandOver,
    StatusLag,
    StreamPipelineStatus,
    moment,
)
from streampipeline.decide import Observed, State
from streampipeline.decide.facts import frontier
from streampipeline.decide.state import Condition, ConditionStatus, HandOver
from streampipeline.jobconfig import EngineName, TimestampType
from streampipeline.probes.pipeline import PipelineLook


@dataclass(frozen=True)
class Memory:
    """What an operator must know again after a restart."""

    state: State
    timestamps: TimestampType | None = None
    """Who set the topic's timestamps when the pipeline began."""
    audit: str | None = None
    """The last audit that was asked for and dealt with."""
    schema: str | None = None
    """Digest of the schema that the pipeline began with: its results are a function of it."""
    model: str | None = None
    """Digest of the first managed model: its server has a plain name."""
    one_offs: Mapping[str, str] = field(default_factory=dict)
    """By annotation, a digest of the last value that was dealt with."""

    def dump(self, observed: Observed, now: int) -> dict[str, Any]:
        """As it stands in `.status.state`; with what was seen then, for who wants it explained."""
        return {
            "at": now,
            "timestampType": self.timestamps.value if self.timestamps else "",
            "audit": self.audit or "",
            "schema": self.schema or "",
            "model": self.model or "",
            "oneOffs": dict(self.one_offs),
            "decisions": self.state.model_dump(mode="json", by_alias=True),
            "observed": observed.model_dump(mode="json", by_alias=True),
        }

    @classmethod
    def load(cls, status: Mapping[str, Any], now: int) -> Memory:
        """Of a resource's status; engines outlive the operator. Raises pydantic.ValidationError."""
        stored = status.get("state") or {}
        if not stored.get("decisions"):
            return cls(State.initial(now))
        timestamps = stored.get("timestampType")
        return cls(
            State.model_validate(stored["decisions"]),
            TimestampType(timestamps) if timestamps else None,
            stored.get("audit") or None,
            stored.get("schema") or None,
            stored.get("model") or None,
            stored.get("oneOffs") or {},
        )


ACCEPTED = "SpecAccepted"
"""Condition that stands beside those of decisions: whether the newest spec is the one in force."""
NOT_DEPLOYED = (
    "PrimaryHealthy",
    "FallbackActive",
    "ModelReady",
    "SinkReady",
    "SourceReady",
    "LatencyWithinObjective",
    "Exact",
    "Fenced",
    "GenerationCurrent",
)
"""Conditions of which nothing is known as long as nothing runs."""


def with_accepted(state: State, before: State, refused: tuple[str, str] | None, now: int) -> State:
    """The state with that condition. `refused`: reason and message; `before`: the state that was stored."""
    if refused is None:
        condition = _since(before, ACCEPTED, ConditionStatus.TRUE, "Accepted", "", now)
    else:
        condition = _since(before, ACCEPTED, ConditionStatus.FALSE, *refused, now)
    others = tuple(c for c in state.conditions if c.type != ACCEPTED)
    return state.model_copy(update={"conditions": (*others, condition)})


def nothing_deployed(before: State, refused: tuple[str, str], now: int) -> State:
    """The state of a pipeline that cannot be run yet."""
    unknown = (
        _since(before, name, ConditionStatus.UNKNOWN, "NothingDeployed", "", now) for name in NOT_DEPLOYED
    )
    ready = _since(before, "Ready", ConditionStatus.FALSE, *refused, now)
    state = before.model_copy(update={"conditions": (ready, *unknown)})
    return with_accepted(state, before, refused, now)


def _since(
    before: State, name: str, status: ConditionStatus, reason: str, message: str, now: int
) -> Condition:
    """Its transition time changes only when its status does."""
    known = before.condition(name)
    since = known.last_transition_time if known and known.status is status else now
    return Condition(type=name, status=status, reason=reason, message=message, last_transition_time=since)


def render(
    memory: Memory, observed: Observed, look: PipelineLook, generation: int, now: int
) -> dict[str, Any]:
    """The whole `.status`."""
    state = memory.state
    newest = frontier(observed, state)
    lag = StatusLag(flink=look.lag.get(EngineName.FLINK), dask=look.lag.get(EngineName.DASK))
    status = StreamPipelineStatus.model_validate(
        {
            "observed_generation": generation,
            "phase": state.phase.value,
            "active_engine": state.active.value if state.active else None,
            "reason": state.reason or None,
            "epoch": state.epoch,
            "generation": state.generation,
            "frontier": newest,
            "frontier_time": moment(newest) if newest is not None else None,
            "latency_seconds": None if observed.latency_ms is None else round(observed.latency_ms / 1000),
            "result_age_seconds": None if newest is None else max(0, (now - newest) // 1000),
            "lag": lag,
            "workers": observed.dask_workers,
            "repairs_pending": look.repairs_pending,
            "dead_letters": look.dead_letters,
            "hand_overs": [_hand_over(each) for each in state.hand_overs],
            "conditions": [_condition(each, generation) for each in state.conditions],
            "state": memory.dump(observed, now),
        }
    )
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def _condition(condition: Condition, generation: int) -> StatusCondition:
    return StatusCondition.model_validate(
        {
            "type": condition.type,
            "status": condition.status.value,
            "reason": condition.reason,
            "message": condition.message[:32_768],
            "last_transition_time": moment(condition.last_transition_time // 1000 * 1000),
            "observed_generation": generation,
        }
    )


def _hand_over(hand_over: HandOver) -> StatusHandOver:
    def at(ms: int | None) -> object:
        return None if ms is None else moment(ms)

    return StatusHandOver.model_validate(
        {
            "trigger": hand_over.trigger.value,
            "reason": hand_over.reason,
            "source": hand_over.source.value,
            "target": hand_over.target.value,
            "epoch": hand_over.epoch,
            "decided": moment(hand_over.decided),
            "boundary": at(hand_over.boundary),
            "windows_pending": hand_over.windows_pending,
            "first_result": at(hand_over.first_result),
            "completed": at(hand_over.completed),
            "abandoned": at(hand_over.abandoned),
        }
    )
