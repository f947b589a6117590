"""Progress on standard output: one line for each thing that happens, with the seconds since the start."""

from __future__ import annotations

import threading
import time


class Console:
    """Prints whole lines from any thread."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        """Seconds since this console was made."""
        return time.monotonic() - self._started

    def say(self, name: str, text: str) -> None:
        """Print `text` about the piece called `name`."""
        with self._lock:
            print(f"[{self.seconds:6.1f} s] {name}: {text}", flush=True)
