"""Pods that were asked for by an annotation: waiting for their end, and reading what they said."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Set
from datetime import UTC, datetime
from typing import Any

from streampipeline.cluster.client import PIPELINE_LABEL, POD, Cluster, Object
from streampipeline.cluster.exits import TimedOutError

POLL_SECONDS = 1.0
LOG_SHOWN = 20
"""Lines of a pod that failed."""
Tell = Callable[[str], None]


def new_request() -> str:
    """An id that was not used before: the time, to the ms."""
    return f"{datetime.now(UTC):%Y%m%d%H%M%S%f}"[:17]


def find_json(log: str, keys: Set[str]) -> dict[str, Any] | None:
    """The indented object with these keys in a log, whose two streams are mixed. None: none."""
    lines = log.splitlines()
    for start in reversed([i for i, line in enumerate(lines) if line == "{"]):
        end = next((i for i in range(start, len(lines)) if lines[i] == "}"), None)
        if end is None:
            continue
        # A line of the object is indented; one that stands between them is another stream's.
        inner = [line for line in lines[start + 1 : end] if line.startswith(" ")]
        try:
            found = json.loads("\n".join(["{", *inner, "}"]))
        except ValueError:
            continue
        if keys <= found.keys():
            return dict(found)
    return None


def outcome(pod: Object) -> tuple[int | None, str]:
    """Exit code of the pod's container, and why it ended. None: it is not known to have run."""
    for status in pod.get("status", {}).get("containerStatuses") or []:
        ended = (status.get("state") or {}).get("terminated")
        if ended is not None:
            return int(
                ended["exitCode"]
            ), f"exit code {ended['exitCode']}, {ended.get('reason', 'no reason')}"
    status = pod.get("status", {})
    return None, status.get("message") or status.get("reason") or f"pod {status.get('phase', 'Unknown')}"


def log_of(cluster: Cluster, pod: Object) -> str:
    """What its container has printed. Raises ClusterError."""
    return cluster.log(cluster.namespace, pod["metadata"]["name"], pod["spec"]["containers"][0]["name"])


def wait(
    cluster: Cluster, name: str, annotation: str, request: str, what: str, timeout: float, tell: Tell
) -> Object:
    """The pod of the request, once it has ended. `what`: what is waited for.

    Raises ClusterError, TimedOutError.
    """
    deadline = time.monotonic() + timeout
    selector = f"{annotation}={request},{PIPELINE_LABEL}={name}"
    said = ""
    while True:
        pods = cluster.find(POD, selector=selector)
        phase = pods[0]["status"].get("phase", "Pending") if pods else ""
        if phase in ("Succeeded", "Failed"):
            return pods[0]
        now = f"pod {pods[0]['metadata']['name']} {phase}{_waiting(pods[0])}" if pods else ""
        if now and now != said:
            tell(now)
        said = now
        if time.monotonic() >= deadline:
            why = now or "no operator has made its pod: is one running, and has the pipeline begun?"
            raise TimedOutError(f"{what} is not over after {timeout:g} s: {why}")
        time.sleep(POLL_SECONDS)


def _waiting(pod: Object) -> str:
    """Why its container does not run."""
    for status in pod.get("status", {}).get("containerStatuses") or []:
        waiting = (status.get("state") or {}).get("waiting")
        if waiting is not None:
            return f" ({waiting.get('reason', 'waiting')})"
    return ""
