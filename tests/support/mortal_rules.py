"""The rules that an operator keeps whenever it dies: judged at each change that it makes."""

from __future__ import annotations

from typing import Any

from tests.support.outside import Outside

from streampipeline.jobconfig import EngineName
from streampipeline_operator.kube import Object
from streampipeline_operator.names import COMPONENT_LABEL, DASK_DRIVER, EPOCH_LABEL

KEPT = {"deployments", "services", "statefulsets", "networkpolicies"}
"""Children that are never deleted while their pipeline lives, but for servers of models no more needed."""


class Rules:
    """Of one pipeline. Every violation is told in `outside.violations`, none is raised."""

    def __init__(self, pipeline: str, outside: Outside) -> None:
        self._pipeline = pipeline
        self._outside = outside
        self._violations = outside.violations
        self.stored: Object = {}
        """What decisions remember, as written last."""

    def live(self, engine: EngineName) -> int | None:
        """The epoch of the engine at work, as stored."""
        live = self.stored.get("flink" if engine is EngineName.FLINK else "dask")
        return live["assignment"]["epoch"] if live else None

    def changed(
        self, method: str, plural: str, name: str, body: Any, before: Object | None, answer: Any
    ) -> None:
        """The operator has changed something on the API server; `before`: what was there, if anything."""
        if plural == "streampipelines":
            self._status(answer["status"]["state"]["decisions"])
        elif method == "DELETE" and plural in KEPT and not name.startswith(f"{self._pipeline}-model"):
            self._violations.append(f"{plural} {name} deleted")
        elif plural == "pods":
            self._pod(method, name, body, before)

    def _status(self, after: Object) -> None:
        before, self.stored = self.stored, after
        if before and after["epoch"] < before["epoch"]:
            self._violations.append(f"the epoch went back from {before['epoch']} to {after['epoch']}")
        if before and after["rewind"]["number"] < before["rewind"]["number"]:
            self._violations.append("the rewinds went back")

    def _pod(self, method: str, name: str, body: Any, before: Object | None) -> None:
        """A driver is given only the epoch that is stored, and ended only when it is not."""
        labels = (body.get("metadata") or {}).get("labels") or {}
        epoch = labels.get(EPOCH_LABEL)
        live = self.live(EngineName.DASK)
        of_driver = labels.get(COMPONENT_LABEL, DASK_DRIVER) == DASK_DRIVER
        if method != "DELETE" and epoch and of_driver and int(epoch) != live:
            self._violations.append(f"driver {name} of epoch {epoch} started, stored is {live}")
        if method == "DELETE" and before and before["metadata"]["labels"][COMPONENT_LABEL] == DASK_DRIVER:
            given = before["metadata"]["labels"].get(EPOCH_LABEL)
            if given and int(given) == live:
                self._violations.append(f"driver {name} of the live epoch {given} ended")

    def check_engines(self) -> None:
        """No engine runs that was neither asked for nor retired, and the live one has kept its right."""
        if not self.stored:
            return
        for work in (*self._outside.flink_jobs, *self._outside.drivers.values()):
            live = self.live(work.engine)
            if work.epoch == live and self._outside.tokens.get((work.epoch, work.engine)) != work.token:
                self._violations.append(f"the live {work.engine.value} {work.epoch} lost its right")
            retiring = {each["assignment"]["epoch"] for each in self.stored["retiring"]}
            if not work.ended and work.epoch != live and work.epoch not in retiring:
                self._violations.append(f"{work.engine.value} {work.epoch} runs, and nobody knows of it")
