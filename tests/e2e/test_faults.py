"""Parts die on the cluster: what both engines need switches nothing; no death costs or doubles a result."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial

from streampipeline_operator import kube
from testbed import product
from testbed.bed import Bed
from testbed.outcome import audited, fresh, state_of

NAME = "nurse-stress"


def kill(bed: Bed, namespace: str, component: str) -> None:
    """The pods of a component, without a farewell."""
    pods = bed.pods(namespace, NAME, component)
    assert pods, f"there is no pod of {component} to kill"
    for pod in pods:
        bed.api.delete(kube.POD, namespace, pod["metadata"]["name"], grace_seconds=0)


TOO_MUCH = "from distributed import Client; Client('tcp://127.0.0.1:8786').run(lambda: len(b'x' * (4 << 30)))"
"""Asked of every worker: more than its container may have."""


def exhaust_workers(bed: Bed, namespace: str) -> None:
    """Every worker takes more memory than there is for it, until the kernel ends one."""
    [scheduler] = bed.pods(namespace, NAME, "dask-scheduler")

    def ended() -> bool:
        command = ("timeout", "20", "python", "-c", TOO_MUCH)
        bed.kubectl("exec", "-n", namespace, scheduler["metadata"]["name"], "--", *command, check=False)
        return "OOMKilled" in json.dumps([pod["status"] for pod in bed.pods(namespace, NAME, "dask-worker")])

    bed.until("the kernel has ended a worker", ended, seconds=60)


def told(bed: Bed, namespace: str, condition: str, status: str) -> bool:
    """Whether the condition has that status."""
    return bed.condition(namespace, NAME, condition).get("status") == status


def in_phase(bed: Bed, namespace: str, phase: str) -> bool:
    """Whether the pipeline is."""
    return bed.phase(namespace, NAME) == phase


def test_no_death_costs_or_doubles_a_result(
    bed: Bed, namespace: str, running: Callable[..., product.Producer]
) -> None:
    running(namespace)
    epoch = state_of(bed, namespace, NAME).epoch
    for component, condition in (("influxdb", "SinkReady"), ("model-server", "ModelReady")):
        kill(bed, namespace, component)
        for status, seconds in (("False", 30), ("True", 90)):
            expected = partial(told, bed, namespace, condition, status)
            bed.until(f"{condition} is {status}", expected, seconds=seconds, every=0.2)
        bed.until("results are on time", partial(fresh, bed, namespace, NAME, since=time.time()), seconds=90)
    state = state_of(bed, namespace, NAME)
    assert (bed.phase(namespace, NAME), state.epoch, state.hand_overs) == ("Normal", epoch, ())

    # Dask is held in charge, and each of its parts is killed.
    bed.streampipeline("pin", NAME, "dask", "-n", namespace)
    bed.until("Dask is in charge", partial(in_phase, bed, namespace, "Fallback"), seconds=120)
    for component in ("dask-worker's memory", "dask-worker", "dask-scheduler", "dask-driver"):
        if component == "dask-worker's memory":
            exhaust_workers(bed, namespace)
        else:
            kill(bed, namespace, component)
        later = partial(fresh, bed, namespace, NAME, since=time.time())
        bed.until(f"results go on without the {component}", later, seconds=120)
        assert bed.phase(namespace, NAME) == "Fallback"

    audit = audited(bed, namespace, NAME)
    assert (audit["lost"], audit["doubled"], audit["differing"]) == (0, 0, 0), json.dumps(audit)
    assert {"flink", "dask-fallback"} <= set(audit["by_source"])
    bed.streampipeline("pin", NAME, "none", "-n", namespace)
    resuming = partial(in_phase, bed, namespace, "Resuming")
    bed.until("it is deleted in Resuming", resuming, seconds=120, every=0.2)
