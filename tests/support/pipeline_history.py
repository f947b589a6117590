"""What became of a pipeline, version by version, seen by somebody who takes no part; and what was wrong."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tests.support.operator_process import eventually
from tests.support.tenant import Tenant
from urllib3.exceptions import ProtocolError

from streampipeline_operator import kube
from streampipeline_operator.kube import Kind, Object
from streampipeline_operator.names import COMPONENT_LABEL, DASK_DRIVER, EPOCH_LABEL


@dataclass
class History:
    """Every version of the pipeline and of its pods, and what was wrong in them."""

    tenant: Tenant
    violations: list[str] = field(default_factory=list)
    _states: list[tuple[int, Object]] = field(default_factory=list)
    _drivers: dict[str, set[str]] = field(default_factory=dict)

    def follow(self) -> None:
        """Watch from now on, for as long as the test lasts."""
        for kind, seen in ((kube.PIPELINE, self._pipeline), (kube.POD, self._pod)):
            threading.Thread(target=self._follow, args=(kind, seen), daemon=True).start()

    def _follow(self, kind: Kind, seen: Callable[[int, Object, bool], None]) -> None:
        query = {"watch": "true", "timeoutSeconds": "900"}
        path = kind.path(self.tenant.namespace)
        with suppress(ProtocolError):  # the server ends before this thread
            while True:
                stream = self.tenant.api.request("GET", path, query=query, timeout=(5, 1000), stream=True)
                for line in stream:
                    event = json.loads(line)
                    if "object" not in event:  # a definition that is new is not served at once
                        time.sleep(0.2)
                        break
                    body = event["object"]
                    seen(int(body["metadata"]["resourceVersion"]), body, event["type"] == "DELETED")

    def _pipeline(self, version: int, body: Object, deleted: bool) -> None:
        state = ((body.get("status") or {}).get("state") or {}).get("decisions")
        if deleted or state is None:
            return
        if self._states:
            before = self._states[-1][1]
            for name, was, now in (
                ("epoch", before["epoch"], state["epoch"]),
                ("rewind", before["rewind"]["number"], state["rewind"]["number"]),
            ):
                if now < was:
                    self.violations.append(f"{name} went back from {was} to {now}")
        self._states.append((version, state))

    def _pod(self, version: int, body: Object, deleted: bool) -> None:
        metadata = body["metadata"]
        epoch = metadata["labels"].get(EPOCH_LABEL)
        if metadata["labels"].get(COMPONENT_LABEL) != DASK_DRIVER or epoch is None:
            return
        uids = self._drivers.setdefault(epoch, set())
        if metadata["uid"] not in uids:
            uids.add(metadata["uid"])
            if len(uids) > 1:
                self.violations.append(f"{len(uids)} drivers for epoch {epoch}")
            if not any(dask_epoch(state) == int(epoch) for _, state in self._stored(version)):
                self.violations.append(f"a driver for epoch {epoch}, which was not stored")
        elif deleted or metadata.get("deletionTimestamp"):
            stored = self._stored(version)
            if stored and dask_epoch(stored[-1][1]) == int(epoch):
                self.violations.append(f"the driver of the live epoch {epoch} ended")

    def _stored(self, version: int) -> list[tuple[int, Object]]:
        """States before a version: versions of all kinds are counted as one."""
        return eventually(
            "the state", lambda: [each for each in self._states if each[0] < version] or None, 5
        )


def dask_epoch(state: Object) -> int | None:
    """Of the driver at work, by what decisions remember."""
    return state["dask"]["assignment"]["epoch"] if state.get("dask") else None
