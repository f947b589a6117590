"""The typed `.status` of a StreamPipeline: what the operator tells, and what it remembers.

It holds transitions, not heartbeats: numbers that move with every look are written with the next transition,
or at a slow pace. Nothing in it is secret.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from streampipeline.api.spec import Model

CONDITION_TYPE = r"^[A-Za-z][A-Za-z0-9]*$"
CONDITION_REASON = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
HAND_OVERS = 10
"""How many of them are kept."""

Moment = AwareDatetime
"""An instant. As JSON: RFC 3339."""


def moment(ms: int) -> datetime:
    """The instant `ms` milliseconds after 1970 UTC."""
    return datetime.fromtimestamp(ms // 1000, UTC) + timedelta(milliseconds=ms % 1000)


class StatusPhase(StrEnum):
    """Where the pipeline stands between its two engines."""

    STARTUP = "Startup"
    NORMAL = "Normal"
    TRIGGERING = "Triggering"
    FALLBACK = "Fallback"
    RESUMING = "Resuming"


class StatusEngine(StrEnum):
    """The engines, by the values of a point's field `source`."""

    FLINK = "flink"
    DASK = "dask-fallback"


class StatusTrigger(StrEnum):
    """Why results are handed over."""

    LATENCY = "Latency"
    DEATH = "PrimaryDown"
    DRILL = "Drill"
    PIN = "Pinned"
    RECOVERED = "PrimaryRecovered"


class StatusConditionStatus(StrEnum):
    """Kubernetes' three."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class StatusCondition(Model):
    """A condition as in Kubernetes' API conventions."""

    type: Annotated[str, Field(min_length=1, max_length=316, pattern=CONDITION_TYPE)] = Field(
        description="What is judged, such as Ready."
    )
    status: StatusConditionStatus = Field(description="True, False or Unknown.")
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=CONDITION_REASON)] = Field(
        description="One word in CamelCase that says why, for programs."
    )
    message: Annotated[str, Field(max_length=32_768)] = Field(
        description="A sentence that says why, for people. May be empty."
    )
    last_transition_time: Moment = Field(description="When the status last changed.")
    observed_generation: int | None = Field(
        default=None, description="The resource's metadata.generation that was judged."
    )


class StatusLag(Model):
    """Records of the topic that each engine has not read yet."""

    flink: int | None = Field(default=None, description="Records that Flink has not read yet.")
    dask: int | None = Field(default=None, description="Records that Dask has not read yet.")


class StatusHandOver(Model):
    """One switch between the engines."""

    trigger: StatusTrigger = Field(
        description="Latency, PrimaryDown, Drill, Pinned: to Dask. PrimaryRecovered: back to Flink. "
        "Pinned and Drill may go either way."
    )
    reason: str = Field(description="The trigger in words, with the numbers that caused it.")
    source: StatusEngine = Field(alias="from", description="Engine that gave the work away.")
    target: StatusEngine = Field(alias="to", description="Engine that was given the work.")
    epoch: int = Field(description="Epoch of the assignment that the switch made.")
    decided: Moment = Field(description="When the switch was decided.")
    boundary: Moment | None = Field(
        default=None,
        description="Event time from which on the new engine publishes: windows that end after it.",
    )
    windows_pending: int = Field(
        default=0, description="Windows that had ended by then and were not in the sink."
    )
    first_result: Moment | None = Field(
        default=None, description="When the first result of the new engine was seen."
    )
    completed: Moment | None = Field(
        default=None, description="When the new engine had caught up and the old one was gone."
    )
    abandoned: Moment | None = Field(
        default=None,
        description="When it was given up: the old engine kept the work, or another switch came.",
    )


class StreamPipelineStatus(Model):
    """What the operator saw and did last. Written by it alone."""

    observed_generation: int | None = Field(
        default=None, description="The metadata.generation that the last decision was made from."
    )
    phase: StatusPhase | None = Field(
        default=None,
        description="Startup: no result yet. Normal: Flink works. Triggering: Dask is starting. "
        "Fallback: Dask works. Resuming: Flink is catching up, Dask still works.",
    )
    active_engine: StatusEngine | None = Field(
        default=None, description="Engine that results come from. Absent: none does."
    )
    reason: str | None = Field(
        default=None, description="Why Dask took over last, with the numbers that caused it."
    )
    epoch: int | None = Field(
        default=None, description="Number of the last assignment of the work to an engine."
    )
    generation: int | None = Field(
        default=None, description="Generation of the results: a field of each point."
    )
    frontier: int | None = Field(
        default=None,
        description="Every window that ends by this event time is in the sink: ms since 1970 UTC.",
    )
    frontier_time: Moment | None = Field(default=None, description="The frontier as date and time.")
    latency_seconds: int | None = Field(
        default=None,
        description="Age of the record that made the oldest unpublished window closable, in s. "
        "Absent: not known.",
    )
    result_age_seconds: int | None = Field(
        default=None, description="Age of the newest result by the end of its window, in s."
    )
    lag: StatusLag | None = Field(
        default=None, description="Records of the topic that each engine has not read yet."
    )
    workers: int | None = Field(default=None, description="Dask workers that are registered.")
    repairs_pending: int | None = Field(
        default=None, description="Requests to recompute a window that are not done yet."
    )
    dead_letters: int | None = Field(
        default=None, description="Entries of the dead-letter topic; one record may have several."
    )
    hand_overs: Annotated[list[StatusHandOver], Field(max_length=HAND_OVERS)] = Field(
        default_factory=list, description="The last ten switches between the engines, oldest first."
    )
    conditions: Annotated[list[StatusCondition], Field(max_length=32)] = Field(
        default_factory=list,
        description="Ready, PrimaryHealthy, FallbackActive, ModelReady, SinkReady, SourceReady, "
        "LatencyWithinObjective, Exact, Fenced and GenerationCurrent.",
    )
    state: dict[str, Any] | None = Field(
        default=None,
        description="What the operator remembers between two decisions. Internal: neither to be read nor to "
        "be edited.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )
