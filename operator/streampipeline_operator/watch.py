"""What there is of every pipeline, kept up to date by watching: reading it asks the API server nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from kubernetes.informer import ADDED, DELETED, MODIFIED, SharedInformer

from streampipeline_operator import kube
from streampipeline_operator.kube import ApiException, Kind, Kube, Object
from streampipeline_operator.names import PIPELINE_LABEL, SELECTOR

WATCHED = (
    kube.POD,
    kube.SERVICE,
    kube.DEPLOYMENT,
    kube.STATEFUL_SET,
    kube.NETWORK_POLICY,
    kube.DASK_CLUSTER,
)
"""Secrets are not: the operator may not list them."""
RELIST_SECONDS = 60
"""A watch lasts so long, then all is listed anew: what a watch that is cut off unseen has missed is known by
then."""
PAUSE_SECONDS = 2.0
"""Between two lists, and before the next attempt when the API server did not answer: the informer itself
pauses for neither."""


class Watches:
    """Informers of all kinds of children, over all namespaces or some."""

    def __init__(self, api: Kube, namespaces: Sequence[str], changed: Callable[[str, str], None]) -> None:
        """`changed(namespace, pipeline)` is called from a thread of its own at each change."""
        self._changed = changed
        self._informers: dict[tuple[Kind, str | None], SharedInformer] = {}
        for kind in WATCHED:
            for namespace in namespaces or (None,):
                informer = SharedInformer(
                    _lister(api, kind, namespace), resync_period=RELIST_SECONDS, label_selector=SELECTOR
                )
                for event in (ADDED, MODIFIED, DELETED):
                    informer.add_event_handler(event, self._on_change)
                self._informers[kind, namespace] = informer

    def start(self) -> None:
        """Begin to watch; returns at once."""
        for informer in self._informers.values():
            informer.start()

    def synced(self) -> bool:
        """Whether every kind was listed once: only then is what is not there known not to be."""
        return all(informer._resource_version is not None for informer in self._informers.values())

    def children(self, kind: Kind, namespace: str, pipeline: str) -> list[Object]:
        """Objects of one kind that belong to a pipeline."""
        informer = self._informers.get((kind, None)) or self._informers[kind, namespace]
        return [
            body
            for body in informer.cache.list()
            if body["metadata"]["namespace"] == namespace
            and body["metadata"].get("labels", {}).get(PIPELINE_LABEL) == pipeline
        ]

    def child(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """One object by its name."""
        informer = self._informers.get((kind, None)) or self._informers[kind, namespace]
        found: Object | None = informer.cache.get_by_key(f"{namespace}/{name}")
        return found

    def _on_change(self, body: Object) -> None:
        metadata = body["metadata"]
        self._changed(metadata["namespace"], metadata.get("labels", {}).get(PIPELINE_LABEL, ""))


def _lister(api: Kube, kind: Kind, namespace: str | None) -> Callable[..., Any]:
    """What an informer lists and watches with: as a method of the generated client, with plain objects."""
    again_at = 0.0

    def listed(
        *,
        watch: bool = False,
        label_selector: str = "",
        resource_version: str | None = None,
        timeout_seconds: int | None = None,
        **_: Any,
    ) -> Any:
        """List or watch.

        :return: object
        """
        nonlocal again_at
        query = {"labelSelector": label_selector}
        if resource_version is not None:
            query["resourceVersion"] = resource_version
        path = kind.path(namespace)
        try:
            if not watch:
                # An API server that says at each watch that it has forgotten the version is not hurried.
                time.sleep(max(0.0, again_at - time.monotonic()))
                again_at = time.monotonic() + PAUSE_SECONDS
                try:
                    answer = api.request("GET", path, query=query)
                except ApiException as error:
                    if error.status != 404:
                        raise
                    # Dask's operator is not installed: there is none of its kinds, until there is.
                    answer = {"items": [], "metadata": {"resourceVersion": "0"}}
                version = answer["metadata"]["resourceVersion"]
                return SimpleNamespace(
                    items=answer["items"], metadata=SimpleNamespace(resource_version=version)
                )
            seconds = timeout_seconds or RELIST_SECONDS
            query |= {"watch": "true", "timeoutSeconds": str(seconds), "allowWatchBookmarks": "true"}
            # The server ends the stream; the time-out is for one that is silent because it is gone.
            return api.request("GET", path, query=query, timeout=(5, seconds + 15), stream=True)
        except Exception:
            time.sleep(PAUSE_SECONDS)
            raise

    return listed


class Bell:
    """Rings for one pipeline when something of it changed."""

    def __init__(self) -> None:
        self._events: dict[tuple[str, str], threading.Event] = {}

    def of(self, namespace: str, pipeline: str) -> threading.Event:
        """The event that is set at each change."""
        return self._events.setdefault((namespace, pipeline), threading.Event())

    def ring(self, namespace: str, pipeline: str) -> None:
        """Tell of a change."""
        event = self._events.get((namespace, pipeline))
        if event is not None:
            event.set()
