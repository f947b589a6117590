"""The pods of one pipeline: what watches tell of them, and the few things that are done to them."""

from __future__ import annotations

import secrets

from streampipeline_operator import kube
from streampipeline_operator.desired.common import Pipeline
from streampipeline_operator.kube import Kube, Object
from streampipeline_operator.names import COMPONENT_LABEL, FILES_ANNOTATION
from streampipeline_operator.watch import Watches


def ended(pod: Object) -> bool:
    """Ended by itself, well or not."""
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def alive(pod: Object) -> bool:
    """Not ended, and not told to end."""
    return not ended(pod) and not pod["metadata"].get("deletionTimestamp")


def running(pod: Object) -> bool:
    """Alive, and its containers were started."""
    return alive(pod) and pod["status"].get("phase") == "Running"


def ready(pod: Object) -> bool:
    """Running, and well by its readiness probe."""
    conditions = pod["status"].get("conditions", [])
    return running(pod) and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


class Pods:
    """Of one pipeline. For any thread. What changes something raises ApiException."""

    def __init__(self, api: Kube, watches: Watches, pipeline: Pipeline) -> None:
        self._api = api
        self._watches = watches
        self._pipeline = pipeline
        self._given: dict[str, str] = {}

    def of(self, component: str) -> list[Object]:
        """All that a watch has told of."""
        pods = self._watches.children(kube.POD, self._pipeline.namespace, self._pipeline.name)
        found = [pod for pod in pods if pod["metadata"]["labels"].get(COMPONENT_LABEL) == component]
        if any(pod["metadata"]["name"] == self._given.get(component) for pod in found):
            self._given.pop(component, None)
        return found

    def new_name(self, component: str) -> str:
        """Of the next pod: the same until a watch has told of it.

        So neither a lost reply nor a watch that is behind makes a second one.
        """
        return self._given.setdefault(component, f"{self._pipeline.name}-{component}-{secrets.token_hex(3)}")

    def create(self, pod: Object) -> None:
        """Make it, unless there is one of its name."""
        try:
            self._api.create(pod)
        except kube.ApiException as error:
            if error.status != 409:
                raise

    def look_again(self, name: str, value: str) -> None:
        """A pod that has changed is looked at by its kubelet, and its mounts are refreshed."""
        changes = {"metadata": {"annotations": {FILES_ANNOTATION: value}}}
        try:
            self._api.merge(kube.POD, self._pipeline.namespace, name, changes)
        except kube.ApiException as error:
            if error.status != 404:
                raise

    def delete(self, pod: Object, grace_seconds: int) -> None:
        """Tell it to end, once."""
        if not pod["metadata"].get("deletionTimestamp"):
            self._api.delete(
                kube.POD, self._pipeline.namespace, pod["metadata"]["name"], grace_seconds=grace_seconds
            )
