"""The life of a pipeline: refused, healed, repaired, deleted; the chart removed and installed again."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from streampipeline_operator import kube
from testbed import product
from testbed.bed import OPERATOR_NAMESPACE, Bed
from testbed.outcome import audited, remains, settled, state_of

NAME = "nurse-stress"

BAD = {
    "startTimestamp without Timestamp": ("source__kafka__startTimestamp", 5, "startFrom"),
    "dead letters to the topic itself": ("deadLetter__topic", "stress-topic", "read again"),
    "both kinds of window": ("window__sliding", {"sizeSeconds": 10, "slideSeconds": 5}, "tumbling"),
    "a model input that is no aggregate": ("model__inputs", ["X", "nothing"], "nothing"),
    "resuming above the trigger": ("failover__resumeLatencySeconds", 15, "latencySeconds"),
    "more workers at least than at most": ("fallback__dask__workers", {"min": 3, "max": 2}, "max"),
    "a field that there is not": ("failover__latencySecond", 15, "latencySecond"),
    "a fraction": ("failover__latencySeconds", 1.5, "integer"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_spec_is_refused_at_the_door(bed: Bed, bad: str) -> None:
    path, value, said = BAD[bad]
    document = copy.deepcopy(product.sample(NAME, **{path: value})[-1])
    message = bed.refused(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-n", "default", "-f", "-",
        stdin=json.dumps(document),
    )  # fmt: skip
    assert said in message


def test_what_is_missing_is_said_and_heals(bed: Bed, namespace: str) -> None:
    bed.kubectl("delete", "rolebinding", "--all", "-n", namespace)
    schema, pipeline = product.sample(NAME)
    bed.apply(namespace, pipeline)

    def reason() -> str:
        return str(bed.condition(namespace, NAME, "Ready").get("reason", ""))

    bed.until("the ConfigMap is missed", lambda: reason() == "ConfigMapMissing", seconds=30)
    assert remains(bed, namespace) == []
    bed.apply(namespace, schema)
    bed.until("the right is missed", lambda: "grant" in reason().lower(), seconds=30)
    product.grant(bed, namespace)
    bed.until("Flink is started", lambda: bed.pods(namespace, NAME, "jobmanager"), seconds=60)
    # A deleted child comes back.
    bed.kubectl("delete", "deployment", f"{NAME}-model", "-n", namespace)
    bed.until(
        "the model server is back",
        lambda: bed.api.get(kube.DEPLOYMENT, namespace, f"{NAME}-model"),
        seconds=30,
    )
    events = bed.kubectl("get", "events", "-n", namespace)
    assert "ConfigMapMissing" in events
    assert "ChildRepaired" in events
    bed.streampipeline("suspend", NAME, "-n", namespace)
    bed.until("it is deleted suspended", lambda: reason() == "Suspended", seconds=30)


def test_uninstalled_and_installed_again(
    bed: Bed, namespace: str, running: Callable[..., product.Producer]
) -> None:
    running(namespace)
    bed.until("the stream flows", lambda: settled(bed, namespace, NAME, streaming=True), seconds=90)
    before, pods = state_of(bed, namespace, NAME), _uids(bed, namespace)
    try:
        bed.helm("uninstall", product.RELEASE, "-n", OPERATOR_NAMESPACE, "--wait", "--timeout", "120s")
        assert bed.pipeline(namespace, NAME)["metadata"].get("finalizers", []) == []
        assert _uids(bed, namespace) == pods  # the data plane goes on
    finally:
        product.install(bed, [])
    bed.until(
        "the new operator has taken over",
        lambda: (
            "streampipeline.io/finalizer" in bed.pipeline(namespace, NAME)["metadata"].get("finalizers", [])
        ),
        seconds=60,
    )
    bed.until("all is well", lambda: settled(bed, namespace, NAME, streaming=True), seconds=120)
    after = state_of(bed, namespace, NAME)
    assert after.epoch == before.epoch
    assert _uids(bed, namespace) == pods
    audit = audited(bed, namespace, NAME)
    assert (audit["lost"], audit["doubled"], audit["differing"]) == (0, 0, 0)
    try:
        bed.helm("uninstall", product.RELEASE, "-n", OPERATOR_NAMESPACE, "--wait", "--timeout", "120s")
        bed.kubectl("delete", "sp", NAME, "-n", namespace, "--timeout=30s")
        bed.until("nothing is left", lambda: not remains(bed, namespace), seconds=60)
    finally:
        product.install(bed, [])


def _uids(bed: Bed, namespace: str) -> set[Any]:
    components = ("jobmanager", "taskmanager", "sql-gateway", "model-server", "influxdb")
    return {pod["metadata"]["uid"] for pod in bed.pods(namespace, NAME, *components)}
