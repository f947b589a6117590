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
from typing import Any

import pytest
from tests.support.mortal_parts import (
    Crash,
    Effects,
    Executor,
    ListedWatches,
    MortalKube,
    PatientKube,
    install,
)
from tests.support.mortal_rules import Rules
from tests.support.outside import Clock, Outside
from tests.support.played_pods import PlayedPods
from tests.support.tenant import SAMPLE, sample

from streampipeline.jobconfig import EngineName
from streampipeline_operator import kube
from streampipeline_operator.kube import ApiException, Kind, Kube, Object
from streampipeline_operator.names import COMPONENT_LABEL, PIPELINE_LABEL, REPAIR
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


class Pipeline:
    """One, in a namespace of its own, with its operator and all that it acts on."""

    def __init__(
        self, kubeconfig: Path, namespace: str, folder: Path, patch: pytest.MonkeyPatch, **spec: Any
    ) -> None:
        self.namespace = namespace
        self.clock, self.effects = Clock(), Effects()
        self.outside = Outside(self.clock, self.effects, self.files)
        self.violations = self.outside.violations
        self._rules = Rules(NAME, self.outside)
        self.restarts = 0
        self.voided: list[str] = []
        """Turns that came to nothing, because the status was another one than they knew."""
        self.told: list[tuple[str, str]] = []
        self._folder = folder
        self._api = MortalKube(Kube.of(kubeconfig).api)
        self._api.changed = self._changed
        self._nodes = PatientKube(self._api.api)
        self._watches = ListedWatches(self._api, namespace)
        self.pods = PlayedPods(NAME, namespace, self._nodes, self._watches, self.outside)
        install(patch, self.outside)
        self._nodes.create(
            {"apiVersion": "v1", "kind": "ConfigMap"} | _in(namespace, SAMPLE[0], "metadata", "data")
        )
        body = sample(NAME, **spec)
        body["metadata"]["namespace"] = namespace
        self.outside.uid = self._nodes.create(body)["metadata"]["uid"]
        self._reconciler = self._start()

    # The operator

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
        return next((c["status"], c["reason"]) for c in self._rules.stored["conditions"] if c["type"] == name)

    def stored(self) -> Object:
        """What decisions remember."""
        return self._rules.stored

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
        return str(self._rules.stored.get("phase", ""))

    def outcome(self) -> Object:
        """All that must be the same, whether or not somebody died on the way."""
        stored, flink = self._rules.stored, self._rules.live(EngineName.FLINK)
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
                (engine.value, epoch == flink)
                for epoch, engine in {*self.outside.tokens, (flink, EngineName.REPAIR)}
            },
            "jobs": sorted(
                work.engine.value
                for work in (*self.outside.flink_jobs, *self.outside.drivers.values())
                if not work.ended
            ),
            "repairs": self.outside.repairs_end - self.outside.repairs_done,
        }

    # Its effects

    def _changed(self, method: str, path: str, body: Any, answer: Any) -> None:
        """The operator has changed something on the API server."""
        parts = path.split("/namespaces/")[1].split("/")[1:]
        plural, name = parts[0], (parts[1] if len(parts) > 1 else answer["metadata"]["name"])
        known = self._watches._listed.get(plural, [])
        before = next((each for each in known if each["metadata"]["name"] == name), None)
        self._watches.forget(plural)
        self._rules.changed(method, plural, name, body, before, answer)
        self.effects(f"{method} {plural}" + ("/status" if parts[2:] == ["status"] else ""))

    def _moment(self) -> None:
        self.pods.step()
        self._rules.check_engines()


_LISTED = ("Pod", "Service", "Secret", "Deployment", "StatefulSet", "NetworkPolicy", "DaskCluster")


def _in(namespace: str, body: Object, *members: str) -> Object:
    kept: Object = {member: body[member] for member in members}
    return kept | {"metadata": {**kept["metadata"], "namespace": namespace}}
