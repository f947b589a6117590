"""One turn of the operator: what it decides is in `.status` before it is done, or it is not done."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest
from tests.support.kube_double import NAMESPACE, SETTINGS, KubeDouble, StoreWatches, pipeline_of
from tests.support.tenant import sample

from streampipeline.decide import Observed, State
from streampipeline.decide.actions import Action, PlanStart
from streampipeline.decide.observed import Controls, Health, Probe
from streampipeline.jobconfig import Origin, TimestampType
from streampipeline.probes.pipeline import PipelineLook
from streampipeline_operator import kube
from streampipeline_operator.kube import ApiException, NotLeadingError, Object
from streampipeline_operator.reconcile import Reconciler
from streampipeline_operator.resolve import KafkaAccess, References
from streampipeline_operator.spec_in_force import InForce, SpecReader
from streampipeline_operator.stage import Stage
from streampipeline_operator.status import Memory
from streampipeline_operator.status_store import ChangedError, SupersededError
from streampipeline_operator.world import World

NAME, UID = "nurse-stress", "uid-1"
UP = Probe(health=Health.UP)
WELL = Observed(ground=UP, kafka=UP, sink=UP, model=UP, flink=UP, dask=UP)


class StatusDouble(KubeDouble):
    """With a status that is replaced by whoever knows the newest version."""

    def replace_status(self, body: Object) -> Object:
        found = self.objects["streampipelines", NAMESPACE, NAME]
        if body["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
            raise ApiException(status=409, reason="Conflict")
        found["status"] = body["status"]
        return self._touched(found)

    def decisions(self) -> State | None:
        """As `.status` holds them."""
        status = self.objects["streampipelines", NAMESPACE, NAME]["status"]
        return Memory.load(status, 0).state if status.get("state") else None


class StageDouble:
    """What the engines stand on: all is well, and nothing is done but noted."""

    timestamps = TimestampType.LOG_APPEND_TIME
    ground = None

    def __init__(self, api: StatusDouble) -> None:
        self._api = api
        self.applied: list[tuple[State | None, tuple[Action, ...]]] = []
        """What `.status` held when actions were to be carried out, and which."""

    def observe(self, _: State, controls: Controls) -> tuple[Observed, PipelineLook]:
        return WELL.model_copy(update={"controls": controls}), PipelineLook()

    def looked(self) -> bool:
        return True

    def apply(self, actions: tuple[Action, ...]) -> None:
        self.applied.append((self._api.decisions(), actions))


class SpecDouble:
    """A spec that was read, and whose stage was built, before."""

    refused = None

    def __init__(self, stage: StageDouble) -> None:
        references = References("{}", KafkaAccess())
        self._in_force = InForce(pipeline_of(), references, cast("Stage", stage))

    def read(self, *_: object) -> InForce:
        return self._in_force


class Turns(Reconciler):
    """A reconciler of a spec that stays as it is, and that has no children."""

    def __init__(self, api: StatusDouble, stage: StageDouble) -> None:
        world = World(api, SETTINGS)
        world.watches = StoreWatches(api)
        super().__init__(world, NAMESPACE, NAME, UID, lambda *_: None)
        self._spec = cast("SpecReader", SpecDouble(stage))

    @staticmethod
    def _objects(*_: object) -> list[Object]:
        return []


@pytest.fixture
def api() -> StatusDouble:
    """With a pipeline that has just found its origin."""
    made = StatusDouble()
    state = State.initial(time.time_ns() // 1_000_000)
    state = state.model_copy(update={"origin": Origin(boundary=5_000, offsets={0: 3})})
    stored = Memory(state, TimestampType.LOG_APPEND_TIME).dump(Observed(), 0)
    body = sample(NAME)
    metadata = {**body["metadata"], "namespace": NAMESPACE, "uid": UID, "generation": 1}
    made.put(kube.PIPELINE, {**body, "metadata": metadata, "status": {"state": stored}})
    return made


@pytest.fixture
def stage(api: StatusDouble) -> StageDouble:
    return StageDouble(api)


@pytest.fixture
def reconciler(api: StatusDouble, stage: StageDouble) -> Reconciler:
    return Turns(api, stage)


def body_of(api: StatusDouble) -> dict[str, Any]:
    found = api.get(kube.PIPELINE, NAMESPACE, NAME)
    assert found is not None
    return found


def test_an_epoch_is_in_the_status_before_it_is_planned_for(
    api: StatusDouble, stage: StageDouble, reconciler: Reconciler
) -> None:
    reconciler.reconcile(body_of(api))
    [(stored, actions)] = stage.applied
    [plan] = [action for action in actions if isinstance(action, PlanStart)]
    assert stored is not None
    assert stored.wanted is not None
    assert stored.epoch == stored.wanted.epoch == plan.epoch > 0


def test_what_another_operator_wrote_is_not_overwritten(
    api: StatusDouble, stage: StageDouble, reconciler: Reconciler
) -> None:
    """It wrote after this one began, and before it decided: the version is not stale, the decision is."""
    reconciler.reconcile(body_of(api))
    found = api.objects["streampipelines", NAMESPACE, NAME]
    other = Memory(State.initial(1).model_copy(update={"epoch": 77})).dump(Observed(), 1)
    api.put(kube.PIPELINE, {**found, "status": {"state": other}})
    reconciler._shown_at = 0.0  # its figures are due

    with pytest.raises(SupersededError):
        reconciler.reconcile(body_of(api))

    decisions = api.decisions()
    assert decisions is not None
    assert decisions.epoch == 77
    reconciler.reconcile(body_of(api))
    last, _ = stage.applied[-1]
    assert last is not None
    assert last.epoch == 77, "it goes on from what it has read anew"


def test_nothing_is_done_when_the_status_cannot_be_written(
    api: StatusDouble, stage: StageDouble, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Object) -> Object:
        raise ApiException(status=409, reason="Conflict")

    monkeypatch.setattr(api, "replace_status", refuse)
    with pytest.raises(ChangedError):
        reconciler.reconcile(body_of(api))
    assert stage.applied == []


def test_nothing_is_done_once_the_lease_is_out(
    api: StatusDouble, stage: StageDouble, reconciler: Reconciler
) -> None:
    api.leads_until = time.monotonic() - 1
    with pytest.raises(NotLeadingError):
        reconciler.reconcile(body_of(api))
    assert stage.applied == []
