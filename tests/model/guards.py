"""The guards: conditions without which something goes wrong. Each is taken out by a change of its source.

Those of the decisions are the product's; those of the executor and the ground are the model's copy of theirs.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import textwrap
from dataclasses import dataclass
from typing import Any

import pytest
from tests.model.search import Bounds

DECIDE = "streampipeline.decide."
EFFECTS, OPERATOR = "tests.model.effects", "tests.model.operator"


@dataclass(frozen=True)
class Guard:
    """`old` of a function's source becomes `new`; within `bounds` something wrong is then found."""

    name: str
    function: str
    """`module:function` or `module:class.method`."""
    old: str
    new: str
    bounds: Bounds

    def take_out(self, patch: pytest.MonkeyPatch) -> None:
        """Until `patch` is undone. A text that is not there exactly once is an AssertionError."""
        module_name, _, path = self.function.partition(":")
        module: Any = importlib.import_module(module_name)
        owner = module
        *owners, name = path.split(".")
        for part in owners:
            owner = getattr(owner, part)
        kept = inspect.getattr_static(owner, name)
        source = textwrap.dedent(inspect.getsource(getattr(kept, "__func__", kept)))
        assert source.count(self.old) == 1, f"{self.function}: {self.old!r}"
        made: dict[str, Any] = {}
        code = compile(source.replace(self.old, self.new), module_name, "exec")
        exec(code, vars(module), made)  # the function as it would be in its module
        patch.setattr(owner, name, made[name])
        for other in [other for key, other in sys.modules.items() if key.startswith(DECIDE)]:
            if vars(other).get(name) is kept:  # imported by name
                patch.setattr(other, name, made[name])


START = Bounds(epochs=0, faults=0)
RUNNING = Bounds(epochs=0, faults=0, windows=2, at_rest=True)


def _bounds(base: Bounds, **changes: Any) -> Bounds:
    return Bounds(**{**vars(base), **changes})


GUARDS = (
    Guard(
        "a state is stored before its effects begin",
        DECIDE + "state:worth_writing",
        'before != after.model_copy(update={"checks": before.checks})',
        "before.phase is not after.phase",
        START,
    ),
    Guard(
        "every start has an epoch of its own",
        DECIDE + "turn:Turn.want",
        "max(self.state.epoch + 1, self.now // 1000)",
        "max(self.state.epoch, 1)",
        _bounds(RUNNING, epochs=1, edits=1, windows=1),
    ),
    Guard(
        "a plan for another epoch than the wanted one is ignored",
        DECIDE + "decide:_take_plan",
        "(plan.engine, plan.epoch) != (wanted.engine, wanted.epoch)",
        "False",
        _bounds(RUNNING, epochs=1, edits=1, windows=1),
    ),
    Guard(
        "an engine starts at the frontier",
        EFFECTS + ":Effects.boundary",
        "return world.frontier()",
        "return world.closable",
        _bounds(START, windows=1),
    ),
    Guard(
        "the frontier is this generation's",
        DECIDE + "facts:frontier",
        "for p in observed.progress if p.generation == state.generation]",
        "for p in observed.progress]",
        START,
    ),
    Guard(
        "no switch in a shared failure",
        DECIDE + "decide:_frozen",
        "return failure is not None",
        "return False",
        _bounds(RUNNING, epochs=1, faults=1, edits=1, windows=1),
    ),
    Guard(
        "records that are gone stop the pipeline until their loss is accepted",
        DECIDE + "decide:_take_plan",
        "plan.reason == RETENTION_PASSED and not _any_running(turn)",
        "False",
        _bounds(START, faults=1),
    ),
    Guard(
        "a job that was seen is not submitted again",
        DECIDE + "effects:_starts",
        "if live is None or live.seen:",
        "if live is None:",
        _bounds(RUNNING, faults=1, windows=1),
    ),
    Guard(
        "an assignment that has published is not submitted again",
        DECIDE + "facts:has_published",
        "return bool(_own_rows(observed, state, live))",
        "return False",
        _bounds(START, faults=1),
    ),
    Guard(
        "Flink takes the job of an epoch once",
        EFFECTS + ":Effects.submitted",
        "if epoch in world.known:",
        "if False:",
        _bounds(START, faults=1),
    ),
    Guard(
        "an effect is carried out at most once at a time",
        OPERATOR + ":Operator.apply",
        "if ask.identity in running:",
        "if flight.count(ask.effect) > 1:",
        _bounds(START, epochs=1),
    ),
    Guard(
        "a token that was revoked is not made again",
        EFFECTS + ":Effects.may_issue",
        "return world.token(writer) != w.REVOKED",
        "return True",
        _bounds(START, edits=1),
    ),
    Guard(
        "an engine is fenced when the sink's time-out is over",
        EFFECTS + ":Effects.fence",
        "stray = tuple(s for s in world.stray if s[0] != writer)",
        "stray = world.stray",
        _bounds(RUNNING, edits=1),
    ),
    Guard(
        "a retired engine is remembered until it is fenced",
        DECIDE + "decide:_follow_retirements",
        "if not (retiring.fenced and stopped):",
        "if not stopped:",
        _bounds(RUNNING, epochs=1, edits=1),
    ),
    Guard(
        "a retired engine is asked to stop until it is gone",
        DECIDE + "effects:_stops",
        "if not observed.stopped(engine, epoch):",
        "if False:",
        _bounds(RUNNING, epochs=1, edits=1, windows=1),
    ),
    Guard(
        "a job that no assignment accounts for is stopped",
        DECIDE + "facts:orphans",
        "return {job for job in found - known if not observed.stopped(*job)}",
        "return set()",
        _bounds(START, faults=1, edits=1, windows=0),
    ),
    Guard(
        "repairs wait until a single engine may write",
        DECIDE + "effects:repairable_until",
        "may_write(observed, state) != {(live.assignment.engine, live.assignment.epoch)}",
        "False",
        _bounds(RUNNING, epochs=1, edits=1),
    ),
    Guard(
        "repairs wait until that engine has reached the frontier",
        DECIDE + "effects:repairable_until",
        "until is None or own_frontier(observed, state, live) < until",
        "until is None",
        _bounds(RUNNING, epochs=1, edits=1),
    ),
    Guard(
        "Dask is retired when its takeover is abandoned",
        DECIDE + "phases:_abandon_takeover",
        "turn.retire(DASK)",
        "turn.set_live(DASK, None)",
        _bounds(RUNNING, epochs=1, edits=1),
    ),
    Guard(
        "an engine that is replaced by itself is retired",
        DECIDE + "decide:_take_plan",
        "turn.retire(plan.engine)",
        "pass",
        Bounds(epochs=1, faults=1),
    ),
)
