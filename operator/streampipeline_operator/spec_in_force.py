"""What is asked for: the newest spec that can be run, and what its engines stand on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from streampipeline.api.problems import InvalidPipelineError
from streampipeline.decide.effects import flink_wanted
from streampipeline.decide.generations import refuse_type_changes
from streampipeline_operator.desired import model
from streampipeline_operator.desired.common import Pipeline
from streampipeline_operator.job_files import schema_told
from streampipeline_operator.kube import ApiException, Object
from streampipeline_operator.resolve import (
    NotResolved,
    References,
    digest_of,
    not_granted,
    typed,
    unsupported,
)
from streampipeline_operator.stage import Stage
from streampipeline_operator.status import Memory
from streampipeline_operator.world import World

log = structlog.get_logger()

RETRY_SECONDS = 5.0
"""Between two attempts to find what a spec refers to."""
ENSURE_SECONDS = 60.0
"""Between two looks at Secrets and ConfigMaps, which are not watched."""
SCHEMA_CHANGED = (
    "the schema is another one than the pipeline began with, and stays as it was: put it back, "
    "or make a new pipeline under another name"
)


@dataclass(frozen=True)
class InForce:
    """A spec, what it refers to, and the stage built for both."""

    pipeline: Pipeline
    references: References
    stage: Stage


class SpecReader:
    """Of one pipeline, by one thread."""

    def __init__(
        self, world: World, namespace: str, name: str, uid: str, tell: Callable[[str, str], None]
    ) -> None:
        """`tell(reason, message)` makes a warning event."""
        self._world = world
        self._namespace, self._name, self._uid = namespace, name, uid
        self._tell = tell
        self._log = log.bind(namespace=namespace, pipeline=name)
        self._in_force: InForce | None = None
        self._generation: int | None = None
        self._again_at = 0.0
        self.refused: tuple[str, str] | None = None
        """Why the newest spec, or the schema that it refers to, is not in force: reason and message."""

    def read(self, body: Object, memory: Memory) -> InForce | None:
        """The newest spec that can be run: one that cannot leaves the last in force. None: there was none.

        To be repeated at each turn. Raises ApiException.
        """
        generation = body["metadata"]["generation"]
        if generation == self._generation and time.monotonic() < self._again_at:
            return self._in_force
        try:
            spec = typed(body)
            unsupported(spec)
            refuse_type_changes(spec, memory.state)
            references = self._world.resolver.references(body, spec)
            pipeline = Pipeline(self._name, self._namespace, self._uid, spec, self._world.settings)
            kept = self._with_first_schema(pipeline, references, memory)
            self._build(pipeline, kept, memory)
        except InvalidPipelineError as error:
            # Of no other generation, but maybe of another schema.
            self._refuse("InvalidSpec", "; ".join(str(problem) for problem in error.problems))
        except NotResolved as error:
            self._refuse(error.reason, str(error))
        except ApiException as error:
            if error.status != 403:
                raise
            self._refuse("NamespaceNotGranted", not_granted(self._world.settings, self._namespace))
        else:
            if kept is references:
                self.refused = None
            else:
                self._refuse("SchemaChanged", SCHEMA_CHANGED)
        self._generation = generation
        self._again_at = time.monotonic() + (RETRY_SECONDS if self.refused else ENSURE_SECONDS)
        return self._in_force

    def close(self) -> None:
        """Stop probing and doing; engines go on."""
        if self._in_force is not None:
            self._in_force.stage.close()

    def _with_first_schema(self, pipeline: Pipeline, references: References, memory: Memory) -> References:
        """The references, with the schema that the pipeline began with. Raises NotResolved."""
        began = memory.schema
        if began is None or digest_of(references.schema) == began:
            return references
        first = schema_told(self._world.api, self._namespace, pipeline.names.jobs, began)
        if first is None:
            raise NotResolved("SchemaChanged", SCHEMA_CHANGED)
        return replace(references, schema=first)

    def _refuse(self, reason: str, message: str) -> None:
        if self.refused != (reason, message):
            self._log.warning("pipeline.refused", reason=reason, message=message)
            self._tell(reason, message)
        self.refused = (reason, message)

    def _build(self, pipeline: Pipeline, references: References, memory: Memory) -> None:
        before = self._in_force
        if before is not None and _same_engines(before, pipeline, references):
            self._in_force = InForce(pipeline, references, before.stage)
            before.stage.follow(pipeline)
            return
        self._in_force = None
        if before is not None:
            before.stage.close()
        first_model = memory.model or model.first_of(pipeline)
        stage = Stage(self._world, pipeline, references, memory.timestamps, first_model, self._tell)
        # Objects are applied before the first decision: a suspended Flink must not come up for a moment.
        stage.place.flink_cluster(flink_wanted(memory.state))
        self._in_force = InForce(pipeline, references, stage)


def _same_engines(before: InForce, pipeline: Pipeline, references: References) -> bool:
    """Whether only what is read anew at each decision differs: thresholds, and what generations define."""
    told = before.pipeline.spec
    neutral = {name: getattr(told, name) for name in ("failover", "suspend", "aggregates", "model")}
    return told == pipeline.spec.model_copy(update=neutral) and before.references == references
