"""Waiting for something that is down: without end, with growing pauses, and stoppable."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import stamina

T = TypeVar("T")

LONGEST_PAUSE_SECONDS = 2.0
"""Also bounds how late a stop is seen and how often a failed attempt is logged (stamina logs each)."""


class Stopped(Exception):
    """`should_stop` became true while something was waited for: nothing more was written."""


def until_available(
    call: Callable[[], T], unavailable: type[Exception], should_stop: Callable[[], bool]
) -> T:
    """The result of `call`, tried again for as long as it raises `unavailable`.

    Raises Stopped when `should_stop()` is true before an attempt; other exceptions of `call` pass.
    """
    for attempt in stamina.retry_context(
        on=unavailable,
        attempts=None,
        timeout=None,
        wait_initial=0.1,
        wait_max=LONGEST_PAUSE_SECONDS,
        wait_jitter=0.5,
    ):
        with attempt:
            if should_stop():
                raise Stopped("asked to stop while waiting")
            return call()
    raise AssertionError("an unbounded retry never ends without a result")
