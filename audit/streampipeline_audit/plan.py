"""What is fixed when an audit starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline_audit.repair_requests import OutstandingRequests


class PendingLate(StrEnum):
    """Which late records a window may lack without having lost them."""

    OUTSTANDING = "outstanding"
    """Those whose repair is asked for and not made, and those that the engine has not read yet."""
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True)
class Generation:
    """What windows that end after `boundary` (ms), up to the next generation's, are computed with."""

    number: int
    boundary: int
    spec: StreamPipelineSpec
    model_version: str = ""
    """What scored points must name; empty: anything."""


@dataclass(frozen=True)
class Plan:
    """What is fixed when an audit starts. Times in ms."""

    generations: tuple[Generation, ...]
    """Oldest first. Their sources and windows are the same."""
    avro_schema: str
    boundary: int
    """Windows that end after it are the pipeline's."""
    frontier: int
    """Windows that end by it must be in the sink."""
    partitions: frozenset[int]
    disorder: int = 0
    """How far Kafka timestamps run backwards in a partition."""
    going_on: frozenset[int] = frozenset()
    """Partitions that had records behind their end offset already when the frontier was read."""
    pending_late: PendingLate = PendingLate.OUTSTANDING
    requests: OutstandingRequests = field(default_factory=lambda: OutstandingRequests(()))

    @property
    def spec(self) -> StreamPipelineSpec:
        """The newest."""
        return self.generations[-1].spec
