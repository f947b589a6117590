"""Before an uninstall: end the operators and take their finalizers off; data planes go on by themselves.

`python -m streampipeline_operator.release`, run by the chart as a hook. A pipeline that is deleted later
goes at once, its children with it; an operator that is installed later takes over what it finds.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

import structlog
from urllib3.exceptions import HTTPError

from streampipeline.logs import configure
from streampipeline_operator.kube import (
    DASK_CLUSTER,
    DASK_WORKER_GROUP,
    DEPLOYMENT,
    PIPELINE,
    POD,
    ApiException,
    Kind,
    Kube,
    Object,
)
from streampipeline_operator.leader import LEASE_NAME
from streampipeline_operator.main import FINALIZER

log = structlog.get_logger()

LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
DASK_AUTOSCALER = Kind("kubernetes.dask.org/v1", "DaskAutoscaler", "daskautoscalers")
DASK_KINDS = (DASK_CLUSTER, DASK_WORKER_GROUP, DASK_AUTOSCALER)
FINALIZERS = frozenset({FINALIZER, "kopf.zalando.org/KopfFinalizerMarker"})
"""Ours, and kopf's own, which Dask's operator uses."""
STOP_SECONDS = 30.0
"""More than the operators' pods are given to end."""
LET_GO_SECONDS = 20.0
PAUSE_SECONDS = 0.5
TOO_MANY_REQUESTS = 429


def stop(api: Kube, namespace: str, deployments: Sequence[str], seconds: float = STOP_SECONDS) -> list[str]:
    """Scale Deployments to zero and wait until their pods are gone.

    Returns the pods that are still there after `seconds`. Raises ApiException, or urllib3's errors.
    """
    selectors = []
    for name in deployments:
        found = api.get(DEPLOYMENT, namespace, name)
        if found is None:
            continue
        labels = found["spec"]["selector"]["matchLabels"]
        selectors.append(",".join(f"{key}={value}" for key, value in labels.items()))
        api.request(
            "PATCH",
            f"{DEPLOYMENT.path(namespace, name)}/scale",
            body={"spec": {"replicas": 0}},
            content_type="application/merge-patch+json",
        )
        log.info("release.stopping", deployment=name)
    deadline = time.monotonic() + seconds
    while True:
        pods = [pod["metadata"]["name"] for each in selectors for pod in api.list(POD, namespace, each)]
        if not pods or time.monotonic() > deadline:
            return pods
        time.sleep(PAUSE_SECONDS)


def let_go(
    api: Kube, kinds: Sequence[Kind], namespaces: Sequence[str], seconds: float = LET_GO_SECONDS
) -> int:
    """Take the operators' finalizers off all objects of these kinds; with no namespaces named, in all.

    Returns how many objects had one.

    Raises:
        TimeoutError: somebody put them back for longer than `seconds`.
        ApiException: the API server refused, or urllib3's errors when it did not answer.
    """
    released: set[str] = set()
    deadline = time.monotonic() + seconds
    while True:
        try:
            held = _held(api, kinds, namespaces)
        except ApiException as error:
            # A definition that was changed a moment ago is not served at once.
            if error.status != TOO_MANY_REQUESTS or time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_SECONDS)
            continue
        if not held:
            return len(released)
        if time.monotonic() > deadline:
            names = ", ".join(f"{kind.kind} {_name(body)}" for kind, body in held)
            raise TimeoutError(f"finalizers come back, another operator serves: {names}")
        for kind, body in held:
            _take_off(api, kind, body)
            released.add(body["metadata"]["uid"])
        time.sleep(PAUSE_SECONDS)


def _held(api: Kube, kinds: Sequence[Kind], namespaces: Sequence[str]) -> list[tuple[Kind, Object]]:
    """Objects that have one of the operators' finalizers."""
    return [
        (kind, body)
        for kind in kinds
        for namespace in namespaces or (None,)
        for body in _list(api, kind, namespace)
        if FINALIZERS & set(body["metadata"].get("finalizers", []))
    ]


def _take_off(api: Kube, kind: Kind, body: Object) -> None:
    metadata = body["metadata"]
    left = [finalizer for finalizer in metadata["finalizers"] if finalizer not in FINALIZERS]
    changes = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": left}}
    try:
        api.merge(kind, metadata["namespace"], metadata["name"], changes)
    except ApiException as error:
        if error.status not in (404, 409):  # gone, or changed a moment ago: the next round sees
            raise
    if kind is PIPELINE and metadata.get("deletionTimestamp"):
        log.warning(
            "release.deletion_unfinished",
            pipeline=_name(body),
            message="it was being deleted: internal topics and tokens of an external InfluxDB may be left",
        )


def _list(api: Kube, kind: Kind, namespace: str | None) -> list[Object]:
    try:
        return api.list(kind, namespace, "")
    except ApiException as error:
        if error.status == 404:  # its definition is not there
            return []
        raise


def _name(body: Object) -> str:
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"


def release(
    api: Kube, namespace: str, watched: Sequence[str], operator: str, dask_operator: str | None
) -> None:
    """Stop the operators of this release, then let go of what they held.

    Raises as `stop` and `let_go` do.
    """
    began = time.monotonic()
    names = [operator, dask_operator] if dask_operator else [operator]
    left = stop(api, namespace, names)
    if left:
        log.warning("release.pods_left", pods=left, message="going on without waiting for them")
    api.delete(LEASE, namespace, LEASE_NAME)  # the next operator need not wait for it to run out
    pipelines = let_go(api, [PIPELINE], watched)
    dask = let_go(api, DASK_KINDS, watched) if dask_operator else 0
    log.info(
        "release.done", pipelines=pipelines, dask_objects=dask, seconds=round(time.monotonic() - began, 1)
    )


def main() -> None:
    """Release; ends with 1 when it could not."""
    parser = argparse.ArgumentParser(prog="python -m streampipeline_operator.release", description=__doc__)
    parser.add_argument("--operator", required=True, metavar="DEPLOYMENT")
    parser.add_argument("--dask-operator", metavar="DEPLOYMENT", help="of this release; absent: not touched")
    parser.add_argument("--watched", action="append", default=[], metavar="NAMESPACE", help="default: all")
    options = parser.parse_args()
    configure()
    own = os.environ["POD_NAMESPACE"]
    try:
        release(Kube.connect(), own, options.watched, options.operator, options.dask_operator)
    except (ApiException, HTTPError, TimeoutError) as error:
        status = f" {error.status} {error.reason}" if isinstance(error, ApiException) else f": {error}"
        log.error("release.failed", error=f"{type(error).__name__}{status}")
        sys.exit(1)


if __name__ == "__main__":
    main()
