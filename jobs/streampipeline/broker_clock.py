"""How far this machine's clock is ahead of the brokers', seen from records as they come. Pure.

Of a topic whose timestamps the brokers set: a record that is there in one look and was not in the look before
was appended between the two, and carries the brokers' time of that moment. So

    start of the look before - T <= ahead <= end of this look - T

holds for each new record. Latency compares this clock with T: without the correction a clock that is two
minutes ahead would look like two minutes of latency, and one that is behind would hide them.
"""

from __future__ import annotations

TOLERANCE_MS = 2_000
"""Less is not corrected: it is as well the time that a record takes to be seen."""


class BrokerClock:
    """Fed with every look. Not thread-safe."""

    def __init__(self) -> None:
        self.ahead_ms = 0
        """How far this clock is ahead, as the last new record has it; 0 within the tolerance."""
        self._newest: int | None = None
        self._looked_at: int | None = None

    def look(self, newest: int | None, *, began: int, ended: int) -> None:
        """`newest`: greatest T of the topic; `began`, `ended`: this clock's time around its look-up (ms)."""
        before, since = self._newest, self._looked_at
        self._newest, self._looked_at = newest, began
        if newest is None or before is None or since is None or newest <= before:
            return
        least, most = since - newest, ended - newest
        if least > TOLERANCE_MS:
            self.ahead_ms = least
        elif most < -TOLERANCE_MS:
            self.ahead_ms = most
        else:
            self.ahead_ms = 0

    def now(self, ours: int) -> int:
        """The brokers' time, when it is `ours` here (ms)."""
        return ours - self.ahead_ms
