"""The file of a run, read again when it was edited: what may change on a live pipeline takes effect."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from streampipeline.api.load import load
from streampipeline.api.spec import StreamPipeline, StreamPipelineSpec
from streampipeline.decide import State
from streampipeline.decide.generations import refuse_type_changes


class EditedFile:
    """Looks at the time of the file's last change."""

    def __init__(self, file: Path, name: str | None, same: Callable[[StreamPipeline, str], bool]) -> None:
        """`same`: whether a pipeline with this schema may go on from the results that are there."""
        self._file = file
        self._name = name
        self._same = same
        self._seen = file.stat().st_mtime_ns

    def edited(self, state: State) -> StreamPipelineSpec | None:
        """The spec, when the file has changed since the last look.

        Raises InvalidPipelineError, ChangedSourceError, OSError.
        """
        changed_at = self._file.stat().st_mtime_ns
        if changed_at == self._seen:
            return None
        self._seen = changed_at
        manifest = load(self._file)
        pipeline = manifest.pipeline(self._name, os.environ)
        if not self._same(pipeline, manifest.resolve_schema(pipeline)):
            raise ChangedSourceError
        refuse_type_changes(pipeline.spec, state)
        return pipeline.spec


class ChangedSourceError(Exception):
    """Of what results rest on, only aggregates and model may change."""

    def __str__(self) -> str:
        return "source, schema, window and sink cannot change: name another --workdir"
