"""The normal form of the decisions' state, in which there are finitely many: `now` is always 0."""

from __future__ import annotations

from streampipeline.decide import State
from streampipeline.decide.state import Backoff, Checks, Live, Timers

OLD_MS = 130_000
"""A step of time: longer than every time-out but the longest back-off, which is taken for the first."""


def canonical(state: State) -> State:
    """The state less what no decision reads, with every clock that has run out at one value.

    What is left out is for people (reasons, hand-overs, conditions), or may be forgotten at any time
    (checks), or a limit that is not in the model (switches an hour, the growth of back-off).
    """
    t = state.timers
    return state.model_copy(
        update={
            "since": 0,
            "active_since": None,
            "reason": "",
            "hand_overs": (),
            "conditions": (),
            "latency_switches": (),
            "lost_records": min(state.lost_records, 1),
            "checks": Checks(at=-OLD_MS),
            "timers": Timers(
                phase=_clamp(t.phase),
                primary_down=None if t.primary_down is None else _clamp(t.primary_down),
                dask_down=None if t.dask_down is None else _clamp(t.dask_down),
                thawed=None if t.thawed is None or t.thawed <= -OLD_MS else t.thawed,
            ),
            "backoff": Backoff(count=min(state.backoff.count, 1), until=max(state.backoff.until, 0)),
            "frozen_since": None if state.frozen_since is None else _clamp(state.frozen_since),
            "halt": None if state.halt is None else state.halt.model_copy(update={"since": 0}),
            "flink": _clamped(state.flink),
            "dask": _clamped(state.dask),
        }
    )


def _clamp(at: int) -> int:
    return max(at, -OLD_MS)


def _clamped(live: Live | None) -> Live | None:
    return None if live is None else live.model_copy(update={"at": _clamp(live.at)})


def shifted(state: State) -> State:
    """As it is when a step of time is over: `now` is always 0."""

    def back(at: int | None) -> int | None:
        return None if at is None else at - OLD_MS

    t = state.timers
    lives = {
        name: None if live is None else live.model_copy(update={"at": live.at - OLD_MS})
        for name, live in (("flink", state.flink), ("dask", state.dask))
    }
    return state.model_copy(
        update={
            "timers": Timers(
                phase=t.phase - OLD_MS,
                primary_down=back(t.primary_down),
                dask_down=back(t.dask_down),
                thawed=back(t.thawed),
            ),
            "backoff": state.backoff.model_copy(update={"until": state.backoff.until - OLD_MS}),
            "frozen_since": back(state.frozen_since),
            **lives,
        }
    )
