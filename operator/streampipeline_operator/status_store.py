"""A pipeline's memory in `.status`: read once, then written only on top of what this operator knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from urllib3.exceptions import HTTPError

from streampipeline.decide import Observed
from streampipeline.probes.pipeline import PipelineLook
from streampipeline_operator import kube
from streampipeline_operator.kube import ApiException, Kube, Object
from streampipeline_operator.status import Memory, render


class SupersededError(Exception):
    """Another operator wrote the status: what was decided here is void, and what is remembered too."""


class ChangedError(Exception):
    """Somebody changed the resource at this moment: what was decided is void."""


class StatusStore:
    """Of one pipeline. One thread."""

    def __init__(self, api: Kube, namespace: str, name: str, uid: str) -> None:
        self._api = api
        self._namespace, self._name, self._uid = namespace, name, uid
        self._known: Mapping[str, Any] | None = None
        """`.status.state` as last read or written: who finds another one there is superseded."""
        self.proven = False
        """Whether it was written since it was read. What a read gave may have been out of date: only a write
        on top of it shows that it was not, and nothing may be done before that."""

    @property
    def model(self) -> str | None:
        """`Memory.model` as it is stored."""
        return (self._known or {}).get("model") or None

    def recall(self, body: Object, now: int) -> Memory:
        """What the last operator remembered; `body`: the resource, where it is gone meanwhile.

        Raises ApiException, urllib3's errors.
        """
        found = self._fresh() or body
        status = found.get("status") or {}
        self._known, self.proven = status.get("state"), False
        return Memory.load(status, now)

    def write(
        self, memory: Memory, observed: Observed, look: PipelineLook, generation: int, now: int
    ) -> None:
        """Write `.status` on top of a fresh read.

        Raises SupersededError, ChangedError, ApiException, urllib3's errors.
        """
        fresh = self._fresh()
        if fresh is None or fresh["metadata"]["uid"] != self._uid:
            raise SupersededError("the resource is gone")
        if _state(fresh) != self._known:
            raise SupersededError("another operator wrote the status")
        status = render(memory, observed, look, generation, now)
        try:
            written = self._api.replace_status({**fresh, "status": status})
        except (ApiException, HTTPError) as error:
            # Maybe only the reply was lost.
            written = self._fresh() or {}
            if _state(written) != status["state"]:
                if isinstance(error, ApiException) and error.status == 409:
                    raise ChangedError("the resource changed while its status was written") from None
                raise
        self._known, self.proven = _state(written), True

    def _fresh(self) -> Object | None:
        return self._api.get(kube.PIPELINE, self._namespace, self._name)


def _state(body: Object) -> Mapping[str, Any] | None:
    return (body.get("status") or {}).get("state")
