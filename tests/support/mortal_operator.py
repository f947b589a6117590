"""One pipeline's loop on a real API server that can die after any effect, and the rules it must keep then.

A crash is an exception that nobody catches, right after the effect: its reply is lost, and all that was in
memory with it. What is left behind is the same as before the next effect. Time is virtual, actions are
carried out one after another; Kafka, Flink and the sink are `outside`; pods get the status that is played.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.mortal_parts import (
    Crash,
    Effects,
    Executor,
    ListedWatches,
    MortalKube,
    PatientKube,
    Poller,
)
from tests.support.outside import Clock, Outside
from tests.support.played_pods import PlayedPods
from tests.support.tenant import SAMPLE, sample

from streampipeline import engine_ground, planner, sight, start
from streampipeline.jobconfig import EngineName, TimestampType
from streampipeline.probes import models
from streampipeline_operator import (
    children,
    cluster_place,
    dask_cluster,
    kube,
    nudges,
    reconcile,
    sink_access,
    spec_in_force,
    stage,
)
from streampipeline_operator.kube import ApiException, Kind, Kube, Object
from streampipeline_operator.names import (
    COMPONENT_LABEL,
    DASK_DRIVER,
    EPOCH_LABEL,
    PIPELINE_LABEL,
    REPAIR,
)
from streampipeline_operator.reconcile import Reconciler
from streampipeline_operator.settings import IMAGES, Settings
from streampipeline_operator.status_store import ChangedError, SupersededError
from streampipeline_operator.world import World

NAME = "nurse-stress"
QUIET_TURNS = 4
"""So many turns without an effect: nothing more follows by itself."""
MOST_TURNS = 80
DOWN_STEPS = 2
"""The world goes on for so long before a new operator is there."""
KEPT = {"deployments", "services", "statefulsets", "networkpolicies"}
"""Children that are never deleted while their pipeline lives, but for servers of models no more needed."""


class Pipeline:
    """One, in a namespace of its own, with its operator and all that it acts on."""

    def __init__(
        self, kubeconfig: Path, namespace: str, folder: Path, patch: pytest.MonkeyPatch, **spec: Any
    ) -> None:
        self.namespace = namespace
        self.clock, self.effects = Clock(), Effects()
        self.outside = Outside(self.clock, self.effects, self.files)
        self.violations = self.outside.violations
        self.restarts = 0
        self.voided: list[str] = []
        """Turns that came to nothing, because the status was another one than they knew."""
        self.told: list[tuple[str, str]] = []
        self._stored: Object = {}
        self._folder = folder
        self._api = MortalKube(Kube.of(kubeconfig).api)
        self._api.changed = self._changed
        self._nodes = PatientKube(self._api.api)
        self._watches = ListedWatches(self._api, namespace)
        self.pods = PlayedPods(NAME, namespace, self._nodes, self._watches, self.outside)
        self._install(patch)
        self._nodes.create(
            {"apiVersion": "v1", "kind": "ConfigMap"} | _in(namespace, SAMPLE[0], "metadata", "data")
        )
        body = sample(NAME, **spec)
        body["metadata"]["namespace"] = namespace
        self.outside.uid = self._nodes.create(body)["metadata"]["uid"]
        self._reconciler = self._start()

    # The operator

    def _install(self, patch: pytest.MonkeyPatch) -> None:
        """Time, threads and the outside, under the operator's own code."""
        outside, clock = self.outside, self.clock
        for module in (
            reconcile,
            spec_in_force,
            cluster_place,
            dask_cluster,
            stage,
            kube,
            nudges,
            engine_ground,
        ):
            patch.setattr(module, "time", clock)
        patch.setattr(children.Children.__init__, "__kwdefaults__", {"clock": clock.monotonic})
        for name in ("SqlGateway", "JobManager"):
            patch.setattr(cluster_place, name, lambda _: outside)
        patch.setattr(sink_access, "InfluxDbAdmin", lambda *_, **__: outside)
        patch.setattr(stage, "Preparation", lambda *_: _prepared())
        patch.setattr(stage, "Executor", Executor)
        patch.setattr(Executor, "effect", self.effects, raising=False)
        for module in (sight, models):
            patch.setattr(module, "Poller", Poller)
        patch.setattr(models, "probe_model", outside.answer)
        patch.setattr(sight, "DropWatch", lambda _: None)
        for module in (sight, planner):
            patch.setattr(module, "RequestWriter", lambda *_: None)
        patch.setattr(sight, "admin", lambda _: SimpleNamespace(list_topics=lambda **_: None))
        for module in (sight, planner):
            patch.setattr(module, "PipelineProbe", lambda _: outside)
        for name in ("origin", "start_offsets"):
            patch.setattr(start, name, getattr(outside, name))
        patch.setattr(start, "published_without", lambda *_: None)
        patch.setattr(planner, "consumer", outside.consumer)
        patch.setattr(engine_ground, "REPAIR_PAUSE_SECONDS", 1)

    def _start(self) -> Reconciler:
        images = {name: f"{name}:1" for name in IMAGES}
        workdir = self._folder / f"work-{self.restarts}"
        world = World(self._api, Settings(self.namespace, "operator-0", images, workdir=workdir))
        world.watches = self._watches
        Executor.seen = set()
        return Reconciler(world, self.namespace, NAME, self.outside.uid, self._tell)

    def _tell(self, reason: str, message: str, warning: bool) -> None:
        del warning
        self.told.append((reason, message))

    def turn(self) -> None:
        """A second of the world, then a turn of the loop."""
        self.clock.sleep(1)
        self._moment()
        try:
            body = self._api.get(kube.PIPELINE, self.namespace, NAME)
            assert body is not None
            self._reconciler.reconcile(body)
        except (SupersededError, ChangedError) as error:
            self.voided.append(str(error))
        except ApiException as error:
            self.violations.append(f"refused: {error.status} {error.reason}")
        except Crash:
            self.restart()

    def restart(self) -> None:
        """The operator is gone; the next one comes a little later."""
        self.restarts += 1
        self._reconciler.close()
        for _ in range(DOWN_STEPS):
            self.clock.sleep(1)
            self._moment()
        self._reconciler = self._start()

    def reads(self, body: Object | None) -> None:
        """What the operator reads of its pipeline from now on, as of a time before; None: what is stored."""
        self._api.stale = body

    def settle(self, phase: str, crash_after: int = 0) -> list[str]:
        """Turns until nothing more happens in this phase. Returns the effects up to then."""
        self.effects.begin(crash_after)
        quiet = 0
        for _ in range(MOST_TURNS):
            before = len(self.effects.names)
            self.turn()
            changed = [name for name in self.effects.names[before:] if name != "PUT streampipelines/status"]
            quiet = 0 if changed or self.phase != phase else quiet + 1
            if quiet == QUIET_TURNS:
                return self.effects.names
        self.violations.append(
            f"{phase} not reached, or no rest in it: {self.phase}, {self.effects.names[-5:]}"
        )
        return self.effects.names

    # As its user

    def body(self) -> Object:
        """The resource."""
        found = self._nodes.get(kube.PIPELINE, self.namespace, NAME)
        assert found is not None
        return found

    def replace(self, body: Object) -> None:
        """Edit the resource. Raises ApiException."""
        self._nodes.request("PUT", kube.PIPELINE.path(self.namespace, NAME), body=body)

    def condition(self, name: str) -> tuple[str, str]:
        """Status and reason, as stored."""
        return next((c["status"], c["reason"]) for c in self._stored["conditions"] if c["type"] == name)

    def stored(self) -> Object:
        """What decisions remember."""
        return self._stored

    def children(self, kind: Kind) -> list[Object]:
        """Objects of the pipeline."""
        return self._nodes.list(kind, self.namespace, f"{PIPELINE_LABEL}={NAME}")

    def files(self) -> Mapping[str, str]:
        """The content of the Secret of the jobs."""
        found = self._nodes.get(kube.SECRET, self.namespace, f"{NAME}-jobs") or {}
        return {key: base64.b64decode(value).decode() for key, value in (found.get("data") or {}).items()}

    def annotate(self, **annotations: str) -> None:
        """As a user."""
        values = {f"streampipeline.io/{name}": value for name, value in annotations.items()}
        self._nodes.merge(kube.PIPELINE, self.namespace, NAME, {"metadata": {"annotations": values}})

    # What there is

    @property
    def phase(self) -> str:
        """As stored."""
        return str(self._stored.get("phase", ""))

    def outcome(self) -> Object:
        """All that must be the same, whether or not somebody died on the way."""
        stored = self._stored
        return {
            "phase": stored["phase"],
            "active": stored["active"],
            "live": [bool(stored["flink"]), bool(stored["dask"])],
            "open": [bool(stored["wanted"]), stored["halt"]],
            "retiring": [(each["assignment"]["engine"], each["fenced"]) for each in stored["retiring"]],
            "handOvers": [
                (each["trigger"], each["target"], bool(each["completed"]), bool(each["abandoned"]))
                for each in stored["handOvers"]
            ],
            "conditions": {each["type"]: (each["status"], each["reason"]) for each in stored["conditions"]},
            "objects": {
                (kind.plural, re.sub(r"-[0-9a-f]{6}$", "-*", body["metadata"]["name"]))
                for kind in (*(kube.KINDS[name] for name in _LISTED),)
                for body in self._nodes.list(kind, self.namespace, f"{PIPELINE_LABEL}={NAME}")
                if body["metadata"]["labels"][COMPONENT_LABEL] != REPAIR
            },
            # That of repairs is the live engine's too, and is there once there was one.
            "rights": {
                (engine.value, epoch == self._live(EngineName.FLINK))
                for epoch, engine in {*self.outside.tokens, (self._live(EngineName.FLINK), EngineName.REPAIR)}
            },
            "jobs": sorted(
                work.engine.value
                for work in (*self.outside.flink_jobs, *self.outside.drivers.values())
                if not work.ended
            ),
            "repairs": self.outside.repairs_end - self.outside.repairs_done,
        }

    # The rules

    def _changed(self, method: str, path: str, body: Any, answer: Any) -> None:
        """The operator has changed something on the API server."""
        parts = path.split("/namespaces/")[1].split("/")[1:]
        plural, name = parts[0], (parts[1] if len(parts) > 1 else answer["metadata"]["name"])
        known = self._watches._listed.get(plural, [])
        before = next((each for each in known if each["metadata"]["name"] == name), None)
        self._watches.forget(plural)
        if plural == "streampipelines":
            self._status(answer["status"]["state"]["decisions"])
        elif method == "DELETE" and plural in KEPT and not name.startswith(f"{NAME}-model"):
            self.violations.append(f"{plural} {name} deleted")
        elif plural == "pods":
            self._pod(method, name, body, before)
        self.effects(f"{method} {plural}" + ("/status" if parts[2:] == ["status"] else ""))

    def _status(self, after: Object) -> None:
        before, self._stored = self._stored, after
        if before and after["epoch"] < before["epoch"]:
            self.violations.append(f"the epoch went back from {before['epoch']} to {after['epoch']}")
        if before and after["rewind"]["number"] < before["rewind"]["number"]:
            self.violations.append("the rewinds went back")

    def _pod(self, method: str, name: str, body: Any, before: Object | None) -> None:
        """A driver is given only the epoch that is stored, and ended only when it is not."""
        labels = (body.get("metadata") or {}).get("labels") or {}
        epoch = labels.get(EPOCH_LABEL)
        live = self._live(EngineName.DASK)
        of_driver = labels.get(COMPONENT_LABEL, DASK_DRIVER) == DASK_DRIVER
        if method != "DELETE" and epoch and of_driver and int(epoch) != live:
            self.violations.append(f"driver {name} of epoch {epoch} started, stored is {live}")
        if method == "DELETE" and before and before["metadata"]["labels"][COMPONENT_LABEL] == DASK_DRIVER:
            given = before["metadata"]["labels"].get(EPOCH_LABEL)
            if given and int(given) == live:
                self.violations.append(f"driver {name} of the live epoch {given} ended")

    def _live(self, engine: EngineName) -> int | None:
        live = self._stored.get("flink" if engine is EngineName.FLINK else "dask")
        return live["assignment"]["epoch"] if live else None

    def check_engines(self) -> None:
        """No engine runs that was neither asked for nor retired, and the live one has kept its right."""
        for work in (*self.outside.flink_jobs, *self.outside.drivers.values()):
            live = self._live(work.engine)
            if work.epoch == live and self.outside.tokens.get((work.epoch, work.engine)) != work.token:
                self.violations.append(f"the live {work.engine.value} {work.epoch} lost its right")
            retiring = {each["assignment"]["epoch"] for each in self._stored["retiring"]}
            if not work.ended and work.epoch != live and work.epoch not in retiring:
                self.violations.append(f"{work.engine.value} {work.epoch} runs, and nobody knows of it")

    def _moment(self) -> None:
        self.pods.step()
        if self._stored:
            self.check_engines()


_LISTED = ("Pod", "Service", "Secret", "Deployment", "StatefulSet", "NetworkPolicy", "DaskCluster")


def _prepared() -> SimpleNamespace:
    return SimpleNamespace(
        timestamps=TimestampType.LOG_APPEND_TIME,
        done=True,
        source_problem="",
        sink_problem="",
        close=lambda: None,
    )


def _in(namespace: str, body: Object, *members: str) -> Object:
    kept: Object = {member: body[member] for member in members}
    return kept | {"metadata": {**kept["metadata"], "namespace": namespace}}
