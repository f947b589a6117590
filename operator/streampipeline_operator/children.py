"""Keeps a pipeline's objects as they are desired: applied once, and again when they drift or disappear."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from streampipeline_operator.kube import ApiException, Kube, Object, kind_of
from streampipeline_operator.names import APPLIED_ANNOTATION
from streampipeline_operator.watch import Watches

log = structlog.get_logger()

REFUSED_PAUSE_SECONDS = 10.0
WATCH_LAG_SECONDS = 5.0
"""For so long after an object was applied, a watch may still tell of what was before."""


@dataclass(frozen=True)
class _Applied:
    fingerprint: str
    version: object
    at: float


class Children:
    """Of one pipeline. One thread."""

    def __init__(self, api: Kube, watches: Watches, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._watches = watches
        self._clock = clock
        self._applied: dict[tuple[str, str], _Applied] = {}
        self.refused: dict[tuple[str, str], str] = {}
        """What the API server refuses, such as for a quota, and why. Each is tried again after a while."""
        self._refused_at: dict[tuple[str, str], float] = {}

    def ensure(self, desired: Sequence[Object]) -> list[str]:
        """Apply what is missing or differs.

        Returns what this process had applied before and found changed or gone, as "Deployment a-model". One
        that is refused keeps no other back. Raises urllib3's errors, ApiException for an answer of 5xx.
        """
        repaired = []
        for body in desired:
            key = (body["kind"], body["metadata"]["name"])
            fingerprint = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
            before = self._applied.get(key)
            if before is not None and before.fingerprint == fingerprint and not self._drifted(body, before):
                continue
            if self._clock() - self._refused_at.get(key, -REFUSED_PAUSE_SECONDS) < REFUSED_PAUSE_SECONDS:
                continue
            metadata = {**body["metadata"], "annotations": {APPLIED_ANNOTATION: fingerprint}}
            try:
                applied = self._api.apply({**body, "metadata": metadata})
            except ApiException as error:
                if error.status >= 500:
                    raise
                self.refused[key], self._refused_at[key] = str(error.reason), self._clock()
                continue
            self.refused.pop(key, None)
            self._applied[key] = _Applied(fingerprint, _version(applied), self._clock())
            if before is not None and before.fingerprint == fingerprint:
                repaired.append(" ".join(key))
                log.info("child.repaired", kind=key[0], name=key[1])
        return repaired

    def _drifted(self, body: Object, before: _Applied) -> bool:
        if self._clock() - before.at < WATCH_LAG_SECONDS:
            return False
        found = self._watches.child(kind_of(body), body["metadata"]["namespace"], body["metadata"]["name"])
        return found is None or _version(found) != before.version


def _version(body: Object) -> object:
    """What changes when somebody changes what is desired, and not when a controller writes a status."""
    metadata = body["metadata"]
    return metadata.get("generation") or metadata["resourceVersion"]
