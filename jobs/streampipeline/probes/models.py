"""Looks at the models that matter: the newest generation's, and the one of a generation that is to come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import httpx

from streampipeline.api.definition import Definition
from streampipeline.api.spec import ModelRef, StreamPipelineSpec
from streampipeline.decide import State
from streampipeline.decide.observed import Health, Probe
from streampipeline.probes.model import probe_model
from streampipeline.probes.poller import Poller
from streampipeline.score import changed

ASK_SECONDS = 2.0
"""Between two questions, and the most that an answer may take."""


@dataclass(frozen=True)
class _Asked:
    """Where a model answers, and the names of its inputs."""

    url: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class _Answer:
    asked: _Asked
    version: str
    error: str


class Models:
    """Asks for predictions until closed."""

    def __init__(self, spec: StreamPipelineSpec, url: Callable[[ModelRef], str]) -> None:
        """`spec`: the one in force; `url`: where a model answers."""
        self._wanted = Definition.of(spec)
        self._url = url
        self._state: State | None = None
        self._client = httpx.Client(timeout=ASK_SECONDS, trust_env=False)
        # The second goes on with the newest one where nothing is to come: so that there is an answer of it
        # already when the one to come becomes the newest.
        self._pollers = [
            Poller("model", lambda: self._ask(self._newest()), ASK_SECONDS, fresh_seconds=5),
            Poller("next-model", lambda: self._ask(self._next()), ASK_SECONDS, fresh_seconds=5),
        ]

    def follow(self, spec: StreamPipelineSpec) -> None:
        """Another spec is in force."""
        self._wanted = Definition.of(spec)

    @property
    def looked(self) -> bool:
        """Whether there is an answer."""
        return self._pollers[0].read() is not None

    def newest(self, state: State) -> Probe:
        """Of the newest generation; down when it answers as another version than the generation's."""
        self._state = state
        found = self._found(self._newest())
        wanted = state.newest.model_version if state.newest else self._wanted.model.version
        return _judged(found, wanted or "")

    def next(self, state: State) -> Probe:
        """Of the spec, where that differs from the newest generation."""
        if state.newest is None or state.newest.definition == self._wanted:
            return Probe()
        return _judged(self._found(self._next()), self._wanted.model.version or "")

    def _newest(self) -> _Asked:
        newest = self._state.newest if self._state else None
        return self._asked(newest.definition if newest else self._wanted)

    def _next(self) -> _Asked:
        return self._asked(self._wanted)

    def _asked(self, definition: Definition) -> _Asked:
        return _Asked(self._url(definition.model), tuple(definition.model.inputs))

    def _ask(self, asked: _Asked) -> _Answer:
        try:
            return _Answer(asked, probe_model(self._client, asked.url, list(asked.inputs)), "")
        except (httpx.HTTPError, ValueError) as error:
            return _Answer(asked, "", f"{type(error).__name__}: {error}")

    def _found(self, asked: _Asked) -> Probe:
        for poller in self._pollers:
            reading = poller.read()
            answer = reading.value if reading else None
            if answer is not None and answer.asked == asked:
                if answer.error:
                    return Probe(health=Health.DOWN, message=answer.error)
                return Probe(health=Health.UP, version=answer.version)
        return Probe(health=Health.UNKNOWN, message="no answer yet")

    def close(self) -> None:
        """Ask no more."""
        for poller in self._pollers:
            poller.stop()


def _judged(found: Probe, wanted: str) -> Probe:
    if not found.up or wanted in ("", found.version):
        return found
    return found.model_copy(update={"health": Health.DOWN, "message": changed(found.version, wanted)})
