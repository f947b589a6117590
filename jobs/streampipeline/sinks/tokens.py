"""The write tokens of a pipeline's assignments: made when an engine starts, taken back for ever."""

from __future__ import annotations

import threading
from pathlib import Path

from streampipeline.jobconfig import EngineName
from streampipeline.sinks.base import SinkAdmin


class RetiredError(Exception):
    """The right to write was taken back: it is not made again."""


class WriteTokens:
    """Issues and revokes; for use by several threads.

    A start may be under way while its engine is retired: its token must not be made after it was revoked.
    """

    def __init__(self, admin: SinkAdmin) -> None:
        self._admin = admin
        self._lock = threading.Lock()
        self._retired: set[tuple[EngineName, int]] = set()
        self.fencing = True
        """False: tokens cannot be made or taken back here."""

    def issue(self, epoch: int, engine: EngineName, file: Path) -> None:
        """Write the token of one (epoch, engine) to `file`. Raises RetiredError, SinkUnavailable."""
        with self._lock:
            if (engine, epoch) in self._retired:
                raise RetiredError(f"{engine.value} {epoch} is retired: it gets no token")
            if not self._admin.issue(epoch, engine, file):
                self.fencing = False

    def revoke(self, epoch: int, engine: EngineName, file: Path) -> None:
        """Take the token back, and never make it again. Raises SinkUnavailable."""
        with self._lock:
            self._retired.add((engine, epoch))
            if not self._admin.revoke(epoch, engine, file):
                self.fencing = False
