"""Objects are applied once, and again when they are not what was applied."""

from __future__ import annotations

import pytest
from tests.support.kube_double import NAMESPACE, KubeDouble, StoreWatches, pipeline_of

from streampipeline_operator import kube
from streampipeline_operator.children import REFUSED_PAUSE_SECONDS, WATCH_LAG_SECONDS, Children
from streampipeline_operator.desired import model
from streampipeline_operator.desired.common import Object
from streampipeline_operator.names import APPLIED_ANNOTATION

NAME = "nurse-stress-model"


class Scene:
    def __init__(self) -> None:
        self.now = 100.0
        self.api = KubeDouble()
        self.children = Children(self.api, StoreWatches(self.api), clock=lambda: self.now)
        self.desired: list[Object] = model.objects(pipeline_of())

    def ensure(self, after: float = WATCH_LAG_SECONDS) -> list[str]:
        self.now += after
        return self.children.ensure(self.desired)

    def deployment(self) -> Object:
        return self.api.objects["deployments", NAMESPACE, NAME]


@pytest.fixture
def scene() -> Scene:
    found = Scene()
    assert found.ensure() == [], "what is new was not repaired"
    return found


def test_what_is_as_it_was_applied_costs_no_request(scene: Scene) -> None:
    applied = list(scene.api.calls)
    assert applied == [("PATCH", "services", NAME), ("PATCH", "deployments", NAME)]
    assert scene.ensure() == scene.ensure() == []
    assert scene.api.calls == applied


@pytest.mark.parametrize("kind", [kube.SERVICE, kube.DEPLOYMENT], ids=lambda kind: kind.plural)
def test_what_was_removed_comes_back(scene: Scene, kind: kube.Kind) -> None:
    scene.api.delete(kind, NAMESPACE, NAME)
    assert scene.ensure() == [f"{kind.kind} {NAME}"]
    assert (kind.plural, NAMESPACE, NAME) in scene.api.objects
    assert scene.ensure() == []


def test_what_was_changed_is_changed_back(scene: Scene) -> None:
    changed = scene.deployment()
    changed["spec"]["replicas"] = 5
    changed["metadata"]["generation"] += 1
    assert scene.ensure() == [f"Deployment {NAME}"]
    assert scene.deployment()["spec"]["replicas"] == 1
    assert scene.ensure() == []


def test_a_status_that_a_controller_writes_is_no_change(scene: Scene) -> None:
    changed = scene.deployment()
    changed["status"] = {"readyReplicas": 1}
    changed["metadata"]["resourceVersion"] = "999"
    assert scene.ensure() == []


def test_a_watch_that_lags_behind_is_not_taken_for_a_change(scene: Scene) -> None:
    scene.desired = [body for body in scene.desired if body["kind"] == "Deployment"]
    scene.desired[0]["spec"]["replicas"] = 2
    assert scene.ensure() == []
    scene.deployment()["metadata"]["generation"] = 1  # as it was before
    assert scene.ensure(after=WATCH_LAG_SECONDS / 2) == []
    assert scene.ensure(after=WATCH_LAG_SECONDS) == [f"Deployment {NAME}"]


def test_a_new_wish_is_applied_and_is_no_repair(scene: Scene) -> None:
    before = scene.deployment()["metadata"]["annotations"][APPLIED_ANNOTATION]
    scene.desired[1]["spec"]["replicas"] = 3
    assert scene.ensure() == []
    assert scene.deployment()["spec"]["replicas"] == 3
    assert scene.deployment()["metadata"]["annotations"][APPLIED_ANNOTATION] != before


def test_one_that_is_refused_keeps_no_other_back(scene: Scene) -> None:
    scene.api.denied.add("services")
    del scene.api.objects["services", NAMESPACE, NAME]
    del scene.api.objects["deployments", NAMESPACE, NAME]
    assert scene.ensure() == [f"Deployment {NAME}"]
    assert scene.children.refused == {("Service", NAME): "Forbidden"}

    scene.api.denied.clear()
    scene.ensure(after=REFUSED_PAUSE_SECONDS / 2)
    assert scene.children.refused, "it is not asked for at every turn"
    assert scene.ensure(after=REFUSED_PAUSE_SECONDS) == [f"Service {NAME}"]
    assert not scene.children.refused
