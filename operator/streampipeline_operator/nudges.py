"""Pods that wait for files of a Secret: their kubelets are asked to look, again and again.

A kubelet mounts a Secret anew when its pod has changed, or about once a minute. What it mounts is its own
view of the Secret, which can be behind its view of the pod: a change of the pod right after the Secret's is
then in vain, and the pod waits for more than a minute. So the pod is changed several times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Seconds before each further change: after the last one, a kubelet has looked by itself."""


@dataclass
class _Waiting:
    what: str
    asked: int
    due: float


class Nudges:
    """Of one pipeline's pods, for one thread."""

    def __init__(self, change: Callable[[str, str], None]) -> None:
        """`change(pod, value)` gives the pod an annotation of this value."""
        self._change = change
        self._pods: dict[str, _Waiting] = {}

    def follow(self, waiting: Mapping[str, str]) -> None:
        """To be called often. `waiting`: what each pod waits for, that was changed once when it came.

        A pod that is no more named, or was changed as often as makes sense, is left alone.
        """
        now = time.monotonic()
        self._pods = {pod: self._known(pod, what, now) for pod, what in waiting.items()}
        for pod, known in self._pods.items():
            if known.asked < len(PAUSES) and now >= known.due:
                known.asked += 1
                known.due = now + (PAUSES[known.asked] if known.asked < len(PAUSES) else 0.0)
                self._change(pod, f"{known.what}/{known.asked}")

    def _known(self, pod: str, what: str, now: float) -> _Waiting:
        known = self._pods.get(pod)
        return known if known is not None and known.what == what else _Waiting(what, 0, now + PAUSES[0])
