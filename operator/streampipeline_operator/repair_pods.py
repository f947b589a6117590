"""Repair passes as pods: one at a time, and what those that have ended said."""

from __future__ import annotations

import json

from streampipeline_operator.desired import dask
from streampipeline_operator.desired.common import Pipeline
from streampipeline_operator.names import REPAIR
from streampipeline_operator.pods import Pods, alive


class RepairPods:
    """Of one pipeline. What changes something raises ApiException."""

    def __init__(self, pipeline: Pipeline, pods: Pods) -> None:
        self._pipeline = pipeline
        self._pods = pods
        self._said: dict[str, dict[str, int]] = {}
        """By the pods of passes that have ended."""

    def start(self, epoch: int, until: int) -> None:
        """Make one for windows that end by `until`; those that have ended go."""
        self._listen()
        for pod in self._pods.of(REPAIR):
            if not alive(pod):
                self._pods.delete(pod, grace_seconds=0)
        self._pods.create(dask.repair(self._pipeline, self._pods.new_name(REPAIR), epoch, until))

    def running(self) -> bool:
        """Whether there is one that has not ended, or is on its way out."""
        return any(alive(pod) or pod["metadata"].get("deletionTimestamp") for pod in self._pods.of(REPAIR))

    def end(self) -> None:
        """End the one that runs, if any."""
        for pod in self._pods.of(REPAIR):
            if alive(pod):
                self._pods.delete(pod, grace_seconds=5)

    def said(self, figure: str) -> int:
        """The sum of a figure of what each pass wrote when it ended."""
        self._listen()
        return sum(int(said.get(figure, 0)) for said in self._said.values())

    def _listen(self) -> None:
        for pod in self._pods.of(REPAIR):
            for status in pod["status"].get("containerStatuses", []):
                message = status.get("state", {}).get("terminated", {}).get("message")
                if message:
                    self._said[pod["metadata"]["name"]] = json.loads(message)
