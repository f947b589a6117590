"""The place of a cluster: what pods say of engines, and which requests an action becomes."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.kube_double import NAMESPACE, KubeDouble, StoreWatches, pipeline_of

from streampipeline.decide.observed import Health, JobState
from streampipeline.jobconfig import EngineName
from streampipeline.sinks.base import write_secret
from streampipeline_operator import cluster_place, dask_cluster, kube, nudges
from streampipeline_operator.cluster_place import ClusterPlace
from streampipeline_operator.job_files import EPOCHS_KEPT, JobsSecret
from streampipeline_operator.kube import Object
from streampipeline_operator.names import (
    DASK_DRIVER,
    DASK_SCHEDULER,
    DASK_WORKER,
    EPOCH_LABEL,
    FILES_ANNOTATION,
    REPAIR,
    TASKMANAGER,
)

READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
STARTING = {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}
CLUSTER = ("daskclusters", NAMESPACE, "nurse-stress-dask")


class Scene:
    def __init__(self, folder: Path) -> None:
        self.api = KubeDouble()
        self.watches = StoreWatches(self.api)
        self.pipeline = pipeline_of()
        self.told: list[tuple[str, str]] = []
        self.jobs = JobsSecret(self.api, self.pipeline, folder / "jobs")
        self.place = ClusterPlace(
            self.api, self.watches, self.pipeline, self.jobs, lambda *event: self.told.append(event)
        )

    def pod(self, component: str, name: str, status: Object, epoch: int | None = None, **more: Any) -> Object:
        labels = self.pipeline.names.labels(component)
        if epoch is not None:
            labels[EPOCH_LABEL] = str(epoch)
        metadata = {"name": name, "labels": labels, **more}
        return self.api.put(kube.POD, {"metadata": metadata, "status": status})

    def deployment(self, component: str, name: str) -> None:
        metadata = {"name": name, "labels": self.pipeline.names.labels(component)}
        self.api.put(kube.DEPLOYMENT, {"metadata": metadata})

    def pods(self) -> dict[str, Object]:
        return {name: body for (plural, _, name), body in self.api.objects.items() if plural == "pods"}

    def cluster(self) -> Object:
        return self.api.objects[CLUSTER]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


# What is seen


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"phase": "Pending"}, JobState.STARTING),
        (STARTING, JobState.STARTING),
        (READY, JobState.RUNNING),
        ({"phase": "Failed"}, JobState.FINISHED),
        ({"phase": "Succeeded"}, JobState.FINISHED),
    ],
)
def test_a_driver_is_what_its_pod_says(scene: Scene, status: Object, state: JobState) -> None:
    scene.pod(DASK_DRIVER, "assigned", status, epoch=7)
    scene.pod(DASK_DRIVER, "standby", READY)
    assert scene.place.dask().drivers == {7: state}


def test_dask_is_up_with_its_scheduler_and_counts_workers_that_run(scene: Scene) -> None:
    assert (scene.place.dask().up, scene.place.dask().workers) == (False, 0)
    scene.pod(DASK_SCHEDULER, "scheduler", STARTING)
    scene.pod(DASK_WORKER, "one", STARTING)
    scene.pod(DASK_WORKER, "two", {"phase": "Pending"})
    scene.pod(DASK_WORKER, "three", READY, deletionTimestamp="2026-01-01T00:00:00Z")
    assert (scene.place.dask().up, scene.place.dask().workers) == (False, 1)
    scene.pod(DASK_SCHEDULER, "scheduler", READY)
    assert scene.place.dask().up


def test_nothing_is_known_before_the_first_look_or_when_the_api_server_is_silent(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.api.get(kube.POD, NAMESPACE, "any")
    assert scene.place.health().health is Health.UP
    scene.watches.first_look_over = False
    assert scene.place.health().health is Health.UNKNOWN
    scene.watches.first_look_over = True
    later = time.monotonic() + cluster_place.API_FRESH_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert scene.place.health().health is Health.UNKNOWN


# Dask up


def test_scaling_up_makes_a_cluster_and_one_driver_that_stands_by(scene: Scene) -> None:
    scene.place.scale_dask(2)
    scene.place.scale_dask(2)
    assert scene.cluster()["spec"]["worker"]["replicas"] == 2
    [driver] = scene.pods().values()
    assert EPOCH_LABEL not in driver["metadata"]["labels"]
    assert [call[:2] for call in scene.api.calls] == [("PATCH", "daskclusters"), ("POST", "pods")]

    scene.place.scale_dask(3)
    assert scene.cluster()["spec"]["worker"]["replicas"] == 3


def test_a_standby_that_ended_is_followed_by_another(scene: Scene) -> None:
    scene.place.scale_dask(1)
    [first] = scene.pods().values()
    first["status"] = {"phase": "Failed"}
    scene.place.scale_dask(1)
    assert len(scene.pods()) == 2


def test_of_drivers_that_ended_the_newest_is_kept(scene: Scene) -> None:
    for epoch in range(6, 9):
        made = {"creationTimestamp": f"2026-11-22T10:00:0{epoch}Z"}
        scene.pod(DASK_DRIVER, f"ended-{epoch}", {"phase": "Failed"}, epoch=epoch, **made)
    scene.pod(DASK_DRIVER, "at-work", READY, epoch=9)
    scene.place.scale_dask(2)
    assert set(scene.pods()) == {"ended-8", "at-work"}


def test_a_pod_is_made_once_though_no_watch_tells_of_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its watch is behind, or the reply to its making was lost."""
    monkeypatch.setattr(scene.watches, "children", lambda *_: [])
    monkeypatch.setattr(scene.watches, "child", lambda *_: None)
    attempts: list[Callable[[], None]] = [
        lambda: scene.place.scale_dask(1),
        lambda: scene.place.start_driver(7),
        lambda: scene.place.start_repair(7, 5_000),
    ]
    for attempt in attempts:
        before = len(scene.pods())
        attempt()
        attempt()
        assert len(scene.pods()) == before + 1


def test_after_one_that_has_ended_a_pod_has_another_name(scene: Scene) -> None:
    scene.place.start_repair(7, 5_000)
    [first] = scene.pods()
    scene.pods()[first]["status"] = {"phase": "Succeeded"}
    scene.place.start_repair(7, 6_000)
    assert set(scene.pods()) - {first}


def test_files_are_not_written_over_those_of_another_operator(scene: Scene, tmp_path: Path) -> None:
    """Who was frozen, and replaced, knows an older Secret; what a next attempt is on top of it has seen."""
    other = JobsSecret(scene.api, scene.pipeline, tmp_path / "other")
    for jobs, name in ((scene.jobs, "1-flink.json"), (other, "2-flink.json")):
        jobs.restore()
        write_secret(jobs.files.here / name, "{}")
        if jobs is scene.jobs:
            jobs.publish()
    other.publish()
    with pytest.raises(kube.ApiException) as refused:
        scene.jobs.publish()
    assert refused.value.status == 409
    scene.jobs.publish()


def test_a_cluster_on_its_way_out_is_waited_for(scene: Scene) -> None:
    scene.place.scale_dask(1)
    scene.cluster()["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    with pytest.raises(RuntimeError, match="still being removed"):
        scene.place.scale_dask(1)


def test_the_running_standby_is_given_the_epoch(scene: Scene) -> None:
    scene.pod(DASK_DRIVER, "pending", {"phase": "Pending"})
    scene.pod(DASK_DRIVER, "running", STARTING)
    scene.place.start_driver(7)
    labels = {name: pod["metadata"]["labels"].get(EPOCH_LABEL) for name, pod in scene.pods().items()}
    assert labels == {"pending": None, "running": "7"}
    assert scene.pods()["running"]["metadata"]["annotations"][FILES_ANNOTATION] == "7", "it must look now"


def test_without_a_standby_a_driver_begins_with_its_epoch(scene: Scene) -> None:
    scene.pod(DASK_DRIVER, "of-another", READY, epoch=6)
    scene.place.start_driver(7)
    [fresh] = [pod for name, pod in scene.pods().items() if name != "of-another"]
    assert fresh["metadata"]["labels"][EPOCH_LABEL] == "7"


def test_a_standby_that_changed_meanwhile_is_not_given_anything(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.pod(DASK_DRIVER, "standby", STARTING)
    stale = scene.watches.children(kube.POD, NAMESPACE, "nurse-stress")
    scene.api.merge(kube.POD, NAMESPACE, "standby", {"metadata": {"annotations": {"a": "b"}}})
    monkeypatch.setattr(scene.watches, "children", lambda *_: stale)
    with pytest.raises(RuntimeError, match="has just changed"):
        scene.place.start_driver(7)
    assert EPOCH_LABEL not in scene.pods()["standby"]["metadata"]["labels"]


# Dask to zero


def test_a_driver_that_may_write_is_not_taken_down_with_its_cluster(scene: Scene) -> None:
    scene.place.scale_dask(1)
    scene.pod(DASK_DRIVER, "writes", READY, epoch=7)
    before = list(scene.api.calls)
    scene.place.scale_dask(0)
    assert scene.api.calls == before
    scene.place.stop_driver(7)
    assert "writes" not in scene.pods()
    scene.place.scale_dask(0)
    assert scene.pods() == {}
    assert CLUSTER not in scene.api.objects


def test_what_dasks_operator_leaves_is_removed_and_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.place.scale_dask(2)
    scene.cluster()["metadata"]["finalizers"] = ["kopf.zalando.org/KopfFinalizerMarker"]
    scene.deployment(DASK_WORKER, "worker")
    scene.pod(DASK_WORKER, "worker-pod", READY)
    scene.place.scale_dask(0)
    assert scene.cluster()["metadata"]["deletionTimestamp"]
    scene.place.scale_dask(0)
    assert "worker-pod" in scene.pods(), "its operator is given time"
    assert scene.told == []

    later = time.monotonic() + dask_cluster.REMAINS_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    scene.place.scale_dask(0)
    assert scene.api.objects == {}
    [(reason, message)] = scene.told
    assert reason == "DaskRemains"
    for left in ("Deployment worker", "Pod worker-pod", "DaskCluster nurse-stress-dask"):
        assert left in message
    calls = len(scene.api.calls)
    scene.place.scale_dask(0)
    assert len(scene.api.calls) == calls, "nothing is left to do"


# Files and repairs


def test_files_reach_flink_in_a_secret_and_its_pods_are_told_to_look(scene: Scene) -> None:
    scene.pod(TASKMANAGER, "running", READY)
    scene.pod(TASKMANAGER, "ended", {"phase": "Failed"})
    write_secret(scene.place.files.config(EngineName.FLINK, 7), "{}")
    write_secret(scene.place.files.token(EngineName.FLINK, 7), "abc")
    (scene.place.files.here / ".half-written").write_text("a")
    scene.place.deliver(EngineName.FLINK, 7)
    data = scene.api.objects["secrets", NAMESPACE, "nurse-stress-jobs"]["data"]
    assert {name: base64.b64decode(value) for name, value in data.items()} == {
        "7-flink.json": b"{}",
        "7-flink.token": b"abc",
    }
    digest = scene.pods()["running"]["metadata"]["annotations"][FILES_ANNOTATION]
    assert "annotations" not in scene.pods()["ended"]["metadata"]

    write_secret(scene.place.files.token(EngineName.FLINK, 7), "other")
    scene.place.deliver(EngineName.FLINK, 7)
    assert scene.pods()["running"]["metadata"]["annotations"][FILES_ANNOTATION] != digest


def test_pods_are_told_to_look_again_until_they_have_seen(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kubelet's view of the Secret may be behind its view of the pod."""
    now = 100.0
    monkeypatch.setattr(nudges, "time", SimpleNamespace(monotonic=lambda: now))
    scene.pod(DASK_DRIVER, "standby", STARTING)
    scene.pod(DASK_DRIVER, "driver", STARTING, epoch=7)
    scene.pod(DASK_DRIVER, "at-work", READY, epoch=6)
    scene.pod(TASKMANAGER, "flink", READY)

    def told() -> dict[str, str | None]:
        return {
            name: pod["metadata"].get("annotations", {}).get(FILES_ANNOTATION)
            for name, pod in scene.pods().items()
        }

    scene.place.hurry()
    assert set(told().values()) == {None}, "whoever delivers changes a pod first"
    now += 1
    scene.place.hurry()
    assert told() == {"standby": None, "driver": "7/1", "at-work": None, "flink": None}
    scene.place.hurry()
    assert told()["driver"] == "7/1"

    scene.place.deliver(EngineName.FLINK, 8)
    digest = told()["flink"]
    for _ in range(100):
        now += 1
        scene.place.hurry()
    assert told() == {"standby": None, "driver": "7/6", "at-work": None, "flink": f"{digest}/6"}
    scene.place.deliver(EngineName.FLINK, 8)
    write_secret(scene.place.files.token(EngineName.FLINK, 8), "abc")
    scene.place.deliver(EngineName.FLINK, 8)
    scene.place.hurry()
    now += 1
    scene.place.hurry()
    assert str(told()["flink"]).endswith("/1"), "other files are waited for anew"
    assert told()["flink"] != f"{digest}/1"


def test_only_the_newest_epochs_are_kept_and_a_new_operator_finds_them(scene: Scene, tmp_path: Path) -> None:
    for epoch in range(10, 10 + EPOCHS_KEPT + 2):
        write_secret(scene.place.files.config(EngineName.DASK, epoch), f"{epoch}")
    write_secret(scene.place.files.here / "kafka.json", "{}")
    scene.jobs.publish()
    fresh = JobsSecret(scene.api, scene.pipeline, tmp_path / "fresh")
    fresh.restore()
    found = {file.name: file.stat().st_mode & 0o777 for file in fresh.files.here.iterdir()}
    epochs = range(12, 12 + EPOCHS_KEPT)
    assert found == dict.fromkeys(["kafka.json", *(f"{e}-dask-fallback.json" for e in epochs)], 0o600)


def test_a_secret_that_was_removed_comes_back(scene: Scene) -> None:
    assert not scene.jobs.ensure(), "there is nothing to be in it"
    write_secret(scene.place.files.token(EngineName.FLINK, 7), "abc")
    scene.jobs.publish()
    assert not scene.jobs.ensure()
    scene.api.delete(kube.SECRET, NAMESPACE, "nurse-stress-jobs")
    assert scene.jobs.ensure()
    assert list(scene.api.objects["secrets", NAMESPACE, "nurse-stress-jobs"]["data"]) == ["7-flink.token"]


def test_a_repair_pass_is_counted_when_it_has_ended(scene: Scene) -> None:
    scene.place.start_repair(7, 60_000)
    assert scene.place.repairing()
    [pod] = scene.pods().values()
    ended = {"terminated": {"message": json.dumps({"cut": 3})}}
    pod["status"] = {"phase": "Succeeded", "containerStatuses": [{"state": ended}]}
    assert not scene.place.repairing()
    assert scene.place.windows_cut() == 3
    scene.place.start_repair(7, 90_000)
    assert len(scene.pods()) == 1, "the old one is gone"
    assert scene.place.windows_cut() == 3, "what it said is not"
    scene.place.end_repair()
    assert not scene.place.repairing()
    assert scene.pods() == {}


def test_a_repair_on_its_way_out_still_runs(scene: Scene) -> None:
    scene.pod(REPAIR, "old", READY, epoch=7, deletionTimestamp="2026-01-01T00:00:00Z")
    assert scene.place.repairing()
