"""What each process of a pipeline is told: the JobConfigs of its engines, its repairs and its readers."""

from __future__ import annotations

from collections.abc import Callable

from streampipeline.api.spec import ModelRef, StreamPipelineSpec
from streampipeline.decide import State
from streampipeline.jobconfig import (
    Assignment,
    EngineName,
    Generation,
    JobConfig,
    Origin,
    PipelineConfig,
    ServedGeneration,
    SinkEndpoint,
)


class JobConfigs:
    """Of one pipeline. `sink`: where points go; `model_url`: where the model of a generation answers.

    `token` is the path of a process's own token, as that process sees it.
    """

    def __init__(
        self, engines: PipelineConfig, sink: SinkEndpoint, model_url: Callable[[ModelRef], str]
    ) -> None:
        self._engines = engines
        self._sink = sink
        self._model_url = model_url

    def follow(self, spec: StreamPipelineSpec) -> None:
        """Another spec is in force: of the same source, windows and sink."""
        self._engines = self._engines.model_copy(update={"spec": spec})

    def engine(
        self, assignment: Assignment, origin: Origin, token: str, generation: Generation | None
    ) -> JobConfig:
        """For the engine of an assignment."""
        sink = self._sink
        endpoint = SinkEndpoint(
            influxdb=sink.influxdb.model_copy(update={"token_file": token}) if sink.influxdb else None,
            parquet=sink.parquet.model_copy(update={"token_file": token}) if sink.parquet else None,
        )
        changes = dict(self._engines)
        if generation is not None:
            changes["spec"] = generation.definition.applied(self._engines.spec)
            changes["model_url"] = self._model_url(generation.definition.model)
            changes["model_version"] = generation.model_version
        return JobConfig(**changes, assignment=assignment, origin=origin, sink=endpoint)

    def repair(self, assignment: Assignment, state: State, token: str) -> JobConfig:
        """For who recomputes windows of any generation."""
        assert state.origin is not None
        newest = state.numbered(assignment.generation)
        served = [
            ServedGeneration(**dict(each), model_url=self._model_url(each.definition.model))
            for each in state.generations
        ]
        config = self.engine(assignment, state.origin, token, newest)
        return config.model_copy(update={"generations": tuple(served)})

    def reader(self, state: State, token: str) -> JobConfig:
        """For who recomputes windows to compare them: the audit, and what a user asks for."""
        return self.repair(reading(state), state, token)


def reading(state: State) -> Assignment:
    """Of who only reads, from the pipeline's first record on."""
    assert state.origin is not None
    return Assignment(
        engine=EngineName.REPAIR,
        epoch=state.epoch,
        generation=state.generation,
        boundary=state.origin.boundary,
        offsets=state.origin.offsets,
    )
