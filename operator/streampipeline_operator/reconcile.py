"""One pipeline's loop: observe, decide, apply, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from streampipeline.api import controls as control
from streampipeline.decide import Observed, decide, worth_writing
from streampipeline.decide.events import Event
from streampipeline.decide.observed import Controls
from streampipeline.jobconfig import EngineName
from streampipeline.probes.pipeline import PipelineLook
from streampipeline_operator import kube, metrics, one_offs
from streampipeline_operator.children import Children
from streampipeline_operator.desired import flink, influxdb, model, network
from streampipeline_operator.desired.common import Pipeline
from streampipeline_operator.kube import Object
from streampipeline_operator.names import COMPONENT_LABEL, MODEL_SERVER
from streampipeline_operator.resolve import digest_of
from streampipeline_operator.spec_in_force import ENSURE_SECONDS, SpecReader
from streampipeline_operator.stage import Stage
from streampipeline_operator.status import Memory, nothing_deployed, with_accepted
from streampipeline_operator.status_store import StatusStore, SupersededError
from streampipeline_operator.world import World

log = structlog.get_logger()

SHOW_SECONDS = 30.0
"""Numbers in `.status` that move with every look are written no more often than this."""
Tell = Callable[[str, str, bool], None]
"""Make an event: reason, message, whether it is a warning."""


class Reconciler:
    """Of one pipeline, by one thread."""

    def __init__(self, world: World, namespace: str, name: str, uid: str, tell: Tell) -> None:
        self._world = world
        self._namespace, self._name, self._uid = namespace, name, uid
        self._tell = tell
        self._log = log.bind(namespace=namespace, pipeline=name)
        self._children = Children(world.api, world.watches)
        self._one_offs = one_offs.OneOffs(world, namespace, name, tell)
        self._memory: Memory | None = None
        self._status = StatusStore(world.api, namespace, name, uid)
        self._spec = SpecReader(
            world, namespace, name, uid, lambda reason, message: tell(reason, message, True)
        )
        self._told: set[tuple[str, str, str]] = set()
        self._shown_at = 0.0
        self._ensured_at = time.monotonic()

    def reconcile(self, body: Object) -> None:
        """One turn, to be repeated whatever it raises.

        Raises ApiException, SupersededError, ChangedError, NotLeadingError, urllib3's errors.
        """
        now = time.time_ns() // 1_000_000
        memory = self._memory or self._recall(body, now)
        if not self._world.watches.synced():
            return

        # What is asked for
        in_force = self._spec.read(body, memory)
        if in_force is None:
            self._report_refusal(body, memory, now)
            return
        pipeline, stage = in_force.pipeline, in_force.stage
        memory = self._memory = replace(memory, model=memory.model or model.first_of(pipeline) or None)
        desired = self._objects(pipeline, stage, memory)
        repaired = self._children.ensure(desired)
        self._remove_models(desired)
        self._tell_refusals()
        if time.monotonic() - self._ensured_at > ENSURE_SECONDS:
            self._ensured_at = time.monotonic()
            repaired += stage.ensure_secrets()

        # Observe
        observed, look = stage.observe(memory.state, controls(body))

        if memory.state.origin is not None and not stage.looked():
            return  # engines that go on are not judged by what was not looked at yet

        # Decide
        decision = decide(observed, memory.state, now, pipeline.spec)
        state = with_accepted(decision.state, memory.state, self._spec.refused, now)
        ready = stage.ground is not None
        asked = one_offs.asked(body, memory) if ready else {}
        changed = replace(
            memory,
            state=state,
            timestamps=memory.timestamps or stage.timestamps,
            schema=memory.schema or (digest_of(in_force.references.schema) if state.origin else None),
        )
        changed = one_offs.remembered(changed, asked)

        # Store, then apply: what is done must be known to whoever comes after
        unsaid = replace(changed, state=memory.state, model=self._status.model)
        worth = worth_writing(memory.state, state) or unsaid != memory
        if worth or not self._status.proven:
            self._store(body, changed, observed, look, now)
        self._memory = changed
        self._world.api.assert_leading()  # engines are not asked through the API server
        stage.apply(decision.actions)
        self._one_offs.start(stage, changed, asked)

        # Report
        for event in decision.events:
            self._event(event)
        for child in repaired:
            self._tell(
                "ChildRepaired", f"{child} was changed or removed by somebody else: applied again", True
            )
        if time.monotonic() - self._shown_at > SHOW_SECONDS:
            self._store(body, changed, observed, look, now)
        self._one_offs.follow()
        metrics.show(self._namespace, self._name, state, observed, look)

    def close(self) -> None:
        """Engines go on; whoever comes after goes on from `.status`."""
        self._spec.close()

    # What is asked for

    def _recall(self, body: Object, now: int) -> Memory:
        self._memory = self._status.recall(body, now)
        self._log.info(
            "pipeline.taken_over", phase=self._memory.state.phase.value, epoch=self._memory.state.epoch
        )
        return self._memory

    def _report_refusal(self, body: Object, memory: Memory, now: int) -> None:
        """Nothing runs, and nothing is deployed: say why."""
        if self._spec.refused is None:
            return
        state = nothing_deployed(memory.state, self._spec.refused, now)
        if state != memory.state or time.monotonic() - self._shown_at > SHOW_SECONDS:
            changed = replace(memory, state=state)
            self._store(body, changed, Observed(), PipelineLook(), now)
            self._memory = changed

    @staticmethod
    def _objects(pipeline: Pipeline, stage: Stage, memory: Memory) -> list[Object]:
        # Of the newest generation, and of the one before for its repairs.
        older = [each.definition.model for each in memory.state.generations[-2:]]
        return [
            *flink.objects(pipeline, up=stage.place.flink_up),
            *model.objects(pipeline, older, memory.model or ""),
            *influxdb.objects(pipeline),
            *network.objects(pipeline),
        ]

    def _remove_models(self, desired: list[Object]) -> None:
        """Servers of models that no generation needs any more go."""
        needed = {(body["kind"], body["metadata"]["name"]) for body in desired}
        for kind in (kube.SERVICE, kube.DEPLOYMENT):
            for body in self._world.watches.children(kind, self._namespace, self._name):
                metadata = body["metadata"]
                served = metadata["labels"].get(COMPONENT_LABEL, "").startswith(MODEL_SERVER)
                unneeded = served and (kind.kind, metadata["name"]) not in needed
                if unneeded and not metadata.get("deletionTimestamp"):
                    self._world.api.delete(kind, self._namespace, metadata["name"])
                    self._log.info("model.removed", kind=kind.kind, name=metadata["name"])

    def _tell_refusals(self) -> None:
        """Once for each child and reason. Decisions go on: a takeover must not wait for a quota."""
        for (kind, name), reason in self._children.refused.items():
            if (kind, name, reason) not in self._told:
                self._told.add((kind, name, reason))
                self._log.warning("child.refused", kind=kind, name=name, reason=reason)
                self._tell("ChildRefused", f"{kind} {name} cannot be applied: {reason}", True)

    # Store and report

    def _store(self, body: Object, memory: Memory, observed: Observed, look: PipelineLook, now: int) -> None:
        try:
            self._status.write(memory, observed, look, body["metadata"]["generation"], now)
        except SupersededError:
            self._memory = None
            raise
        self._shown_at = time.monotonic()

    def _event(self, event: Event) -> None:
        self._log.info("event", reason=event.reason, message=event.message)
        self._tell(event.reason, event.message, event.warning)
        metrics.count(self._namespace, self._name, event)


def controls(body: Object) -> Controls:
    """What annotations ask for."""
    asked = body["metadata"].get("annotations") or {}
    pins = {"flink": EngineName.FLINK, "dask": EngineName.DASK, EngineName.DASK.value: EngineName.DASK}
    return Controls(
        pin=pins.get(asked.get(control.PIN_ENGINE, "").lower()),
        drill=asked.get(control.DRILL),
        accept_loss=asked.get(control.ACCEPT_LOSS),
    )
