"""Exit codes of every command, and the errors that lead to them."""

from __future__ import annotations

FINE, PROBLEM, USAGE, TIMED_OUT = 0, 1, 2, 3

TABLE = (
    "Exit codes of every command: 0 done and right; 1 done and wrong (a problem found, an audit not exact, a "
    "pipeline not Ready); 2 could not be done (wrong usage, not found, no access); 3 timed out waiting."
)


class ClusterError(Exception):
    """What was asked for could not be done; the message says why. `code`: the command's exit code."""

    code = USAGE


class TimedOutError(ClusterError):
    """What was waited for did not come in time."""

    code = TIMED_OUT
