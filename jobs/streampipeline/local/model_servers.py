"""The model servers of a run: one for each bundled model that the spec or a generation names."""

from __future__ import annotations

from streampipeline.api.spec import ModelRef
from streampipeline.local.processes import Processes
from streampipeline.local.runtime import MissingProgramError, Runtime
from streampipeline.local.services import MODEL, ModelProcess


class ModelServers:
    """None is started before `ensure`."""

    def __init__(self, processes: Processes, runtime: Runtime) -> None:
        self._processes = processes
        self._runtime = runtime
        self.bundled: dict[str, ModelProcess] = {}
        """By the name of the bundled model."""

    def serve(self, model: ModelRef) -> None:
        """Have a server for a managed model. Raises MissingProgramError."""
        managed = model.managed
        if managed is None or managed.bundled in self.bundled:
            return
        if managed.bundled is None:
            raise MissingProgramError(
                "spec.model.managed.image: one machine runs no images; serve the model yourself and name it "
                "with spec.model.external.url, or use a bundled model"
            )
        name = f"{MODEL}-{managed.bundled}" if self.bundled else MODEL
        served = ModelProcess(self._processes, self._runtime, managed.bundled, name=name)
        self.bundled[managed.bundled] = served

    def url(self, model: ModelRef) -> str:
        """Where a model answers that is external or served."""
        if model.external is not None:
            return model.external.url
        assert model.managed is not None
        return self.bundled[model.managed.bundled or ""].url

    def ensure(self) -> None:
        """Start what does not run."""
        for served in self.bundled.values():
            served.ensure()
