"""The files of the assignments: here in memory, and in the Secret through which engines see them."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from pathlib import Path

from urllib3.exceptions import HTTPError

from streampipeline.jobconfig import EngineName
from streampipeline.place import JobFiles
from streampipeline.sinks.base import write_secret
from streampipeline_operator.desired.common import Pipeline, metadata
from streampipeline_operator.kube import SECRET, ApiException, Kube, Object
from streampipeline_operator.names import JOBS_DIRECTORY
from streampipeline_operator.resolve import digest_of

EPOCHS_KEPT = 4
"""A Secret holds 1 MiB; the offsets at which the newest engines began must be among them."""


def schema_told(api: Kube, namespace: str, secret: str, digest: str) -> str | None:
    """The schema of this digest as one of the assignments was told it; None: none was."""
    data = (api.get(SECRET, namespace, secret) or {}).get("data") or {}
    for name, value in data.items():
        if name.endswith(".json"):
            schema = json.loads(base64.b64decode(value)).get("avroSchema", "")
            if digest_of(schema) == digest:
                return str(schema)
    return None


class JobsSecret:
    """Of one pipeline. For any thread."""

    def __init__(self, api: Kube, pipeline: Pipeline, folder: Path) -> None:
        self._api = api
        self._pipeline = pipeline
        self._lock = threading.Lock()
        self._version: str | None = None
        """Of the Secret as last seen: who writes on top of another one is behind."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.files = JobFiles(here=folder, engines=Path(JOBS_DIRECTORY))

    def restore(self) -> None:
        """Write here what the Secret holds: a new operator goes on with the last one's tokens and offsets."""
        for name, value in ((self._seen() or {}).get("data") or {}).items():
            write_secret(self.files.here / name, base64.b64decode(value).decode())

    def _seen(self) -> Object | None:
        found = self._api.get(SECRET, self._pipeline.namespace, self._pipeline.names.jobs)
        self._version = found["metadata"]["resourceVersion"] if found else None
        return found

    def publish(self) -> str:
        """Make the Secret hold what is here. Returns the hash of it.

        Raises ApiException: 409 where somebody else has written it; the next attempt is on top of that.
        """
        with self._lock:
            self._prune()
            files = sorted(self.files.here.glob("[!.]*"))  # a dot: another thread is still writing it
            contents = {file.name: file.read_bytes() for file in files}
            data = {name: base64.b64encode(content).decode() for name, content in contents.items()}
            version = {"resourceVersion": self._version} if self._version else {}
            body = {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata(self._pipeline, self._pipeline.names.jobs, "jobs", **version),
                "type": "Opaque",
                "data": data,
            }
            try:
                self._version = self._api.apply(body)["metadata"]["resourceVersion"]
            except (ApiException, HTTPError):
                self._seen()
                raise
        return hashlib.sha256(repr(sorted(data.items())).encode()).hexdigest()[:16]

    def ensure(self) -> bool:
        """Put the Secret back when somebody removed it. Returns whether that was so."""
        if not any(self.files.here.glob("[!.]*")):
            return False  # nothing was published yet
        with self._lock:
            if self._seen() is not None:
                return False
        self.publish()
        return True

    def _prune(self) -> None:
        """Forget the oldest epochs."""
        epochs = {
            int(epoch)
            for file in self.files.here.iterdir()
            if (epoch := file.name.partition("-")[0]).isdecimal()
        }
        for old in sorted(epochs)[:-EPOCHS_KEPT]:
            for engine in EngineName:
                self.files.config(engine, old).unlink(missing_ok=True)
                self.files.token(engine, old).unlink(missing_ok=True)
