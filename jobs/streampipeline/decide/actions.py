"""What a decision asks a ground to do.

Each carries all it needs, may be carried out any number of times, and is asked for again at every decision
until the next look shows its result. An action that is no longer asked for is no longer wanted.
"""

from __future__ import annotations

from streampipeline.api.spec import Model
from streampipeline.jobconfig import Assignment, EngineName, Generation, Origin


class FixOrigin(Model):
    """Find where the pipeline begins; answered by `Observed.origin`, the same at each look until stored."""


class PlanStart(Model):
    """Find boundary and offsets by the start rule; answered by `Observed.plan`."""

    engine: EngineName
    epoch: int
    generation: int
    begin: Origin | None = None
    """Where the generation began: the boundary as long as it has no progress. None: the pipeline's origin."""
    accept_loss: bool = False
    """Start from the log start where retention has passed the start position."""
    clear: bool = False
    """Remove all points of windows that end after the boundary before it is answered: nothing may write."""


class RunEngine(Model):
    """Make its token and start its job, unless a job of this epoch exists, in whatever state."""

    assignment: Assignment
    generation: Generation | None = None
    """What it computes."""


class StopEngine(Model):
    """Cancel the job without draining it. Nothing to do when there is none."""

    engine: EngineName
    epoch: int


class EndDoubles(Model):
    """Of several Flink jobs of one epoch cancel all but the newest, without draining."""

    epoch: int


class Revoke(Model):
    """Revoke the write token; end what the engine left open (transactions). Reported in `Observed.fenced`."""

    engine: EngineName
    epoch: int


class EnsureFlinkCluster(Model):
    """Keep Flink's cluster up, or (`up` False) take it down."""

    up: bool


class ScaleDask(Model):
    """Keep Dask's cluster at so many workers; with 0 the scheduler may go too."""

    workers: int


class RewindRepairs(Model):
    """Set the repairs back to `offset` (never forward), once for each number; see `Repairs.rewound`."""

    number: int
    offset: int


class Repair(Model):
    """Repair windows that end by `until`. To be going on only while it is asked for."""

    until: int
    generation: int


Action = (
    EnsureFlinkCluster
    | ScaleDask
    | FixOrigin
    | PlanStart
    | RunEngine
    | StopEngine
    | EndDoubles
    | Revoke
    | RewindRepairs
    | Repair
)
