"""`report`: a zip for support, without secrets and contents of records. Secrets are never read."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import yaml

from streampipeline.api import controls
from streampipeline.cluster.client import (
    CLAIM,
    CONFIG_MAP,
    DASK_CLUSTER,
    DASK_WORKER_GROUP,
    DEPLOYMENT,
    EVENT,
    NETWORK_POLICY,
    PIPELINE_LABEL,
    POD,
    SERVICE,
    STATEFUL_SET,
    Cluster,
    Kind,
    Object,
)
from streampipeline.cluster.exits import FINE, ClusterError
from streampipeline.cluster.options import Output
from streampipeline.cluster.output import emit, now_ms, utc
from streampipeline.cluster.redact import Redactor
from streampipeline.cluster.resource import name_of

CHILDREN = (
    DEPLOYMENT,
    STATEFUL_SET,
    POD,
    SERVICE,
    CLAIM,
    NETWORK_POLICY,
    DASK_CLUSTER,
    DASK_WORKER_GROUP,
)
"""Kinds that are asked for: neither Secrets nor ConfigMaps."""
COMPONENT = "app.kubernetes.io/component"
OPERATORS = f"app.kubernetes.io/name=streampipeline,{COMPONENT} in (operator,dask-operator)"
README = """\
A report on the StreamPipeline {namespace}/{name}, made {time}.

pipeline.yaml     the resource with its status
children/         what the operator made for it, as the API server has it
events.yaml       events about it and its children
logs/             newest lines of its pods, {lines} a container at most; previous-*: before the last restart
operator/         the operators' pods and logs, lines about other pipelines left out
versions.yaml     Kubernetes, images, this command line
problems.txt      what could not be read, and why

Taken out, and replaced by <redacted>: values under names such as password, token, key or user name; what
looks like a token, a certificate or a login; fields of records and points ({names}); points and
records as engines print them; quoted parts of error messages; texts in log lines under names that are not
known to be harmless. Secrets and the contents of ConfigMaps, topics and sinks were not read.

Names (of namespaces, topics, hosts, Secrets) are in it: look through it before you send it to somebody who
may not know those.
"""


@dataclass
class Findings:
    """What a report is made of, as it was read: nothing of it may leave but through `write`."""

    pipeline: Object
    objects: list[tuple[str, Any]] = field(default_factory=list)
    """(path in the zip without its ending, object)."""
    logs: list[tuple[str, str]] = field(default_factory=list)
    """(path in the zip, text)."""
    schema: str = ""
    """Only its field names are used: what they are called is taken out."""
    problems: list[str] = field(default_factory=list)


def report(
    cluster: Cluster,
    name: str,
    file: Path | None,
    lines: int,
    operator_namespace: str | None,
    output: Output,
    tell: Callable[[str], None] = lambda _: None,
) -> int:
    """Write the zip; what cannot be read is listed in it and told. Returns 0."""
    now = now_ms()
    found = Collection(cluster, cluster.pipeline(name), lines, operator_namespace).collect()
    path = file or Path(f"{name}-report-{utc(now).translate({ord(c): None for c in '-:'})}.zip")
    try:
        entries = write(found, path, now=now, lines=lines)
    except OSError as error:
        raise ClusterError(f"{path} cannot be written: {error.strerror}") from None
    for problem in found.problems:
        tell(f"not in it: {problem}")
    data = {"file": str(path), "entries": entries, "problems": found.problems}
    emit(data, f"{path}: {len(entries)} files; look through it before you send it", output)
    return FINE


def write(found: Findings, path: Path, *, now: int, lines: int) -> list[str]:
    """Redact all that was found and write it; returns the names of the entries. Raises OSError."""
    redactor = Redactor.of(found.pipeline.get("spec") or {}, found.schema)
    namespace, name = name_of(found.pipeline)
    told = {"namespace": namespace, "name": name, "time": utc(now), "lines": lines}
    files = {"README.txt": README.format(**told, names=", ".join(sorted(redactor.names)))}
    for place, value in [("pipeline", found.pipeline), *found.objects]:
        files[f"{place}.yaml"] = yaml.safe_dump(redactor.tree(value), sort_keys=False, allow_unicode=True)
    for place, text in found.logs:
        files[place] = redactor.log(text, keep=_about(namespace, name))
    files["problems.txt"] = redactor.text("\n".join(found.problems)) + "\n"
    path.touch(mode=0o600)
    path.chmod(0o600)
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for entry, text in files.items():
            archive.writestr(f"{path.stem}/{entry}", text)
    return list(files)


def _about(namespace: str, name: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a line of the operator's log is about this pipeline, or none."""

    def about(entry: dict[str, Any]) -> bool:
        here = entry.get("namespace", namespace), entry.get("pipeline", name)
        return here == (namespace, name)

    return about


@dataclass
class Collection:
    """Reads all that a report needs."""

    cluster: Cluster
    pipeline: Object
    lines: int
    operator_namespace: str | None
    _found: Findings = field(init=False)

    def collect(self) -> Findings:
        """Goes on where something cannot be read."""
        self._found = Findings(self.pipeline)
        namespace, name = name_of(self.pipeline)
        children = self._children(name)
        self._events({name, *(each["metadata"]["name"] for each in children)})
        for pod in children:
            if pod["kind"] != POD.kind:
                continue
            if controls.DLQ in (pod["metadata"].get("labels") or {}):
                self._found.problems.append(
                    f"log of {pod['metadata']['name']}: left out, it may hold records"
                )
                continue
            self._logs("logs", pod)
        operators = self._operators(namespace)
        for pod in operators:
            self._found.objects.append((f"operator/{pod['metadata']['name']}", pod))
            self._logs("operator", pod, about=name if _component(pod) == "dask-operator" else None)
        self._schema()
        self._versions([*children, *operators])
        return self._found

    def _read(self, what: str, kind: Kind, **query: str | None) -> list[Object] | None:
        try:
            return self.cluster.find(kind, **query)  # type: ignore[arg-type]
        except ClusterError as error:
            self._found.problems.append(f"{what}: {error}")
            return None

    def _children(self, name: str) -> list[Object]:
        children = []
        for kind in CHILDREN:
            for body in self._read(kind.plural, kind, selector=f"{PIPELINE_LABEL}={name}") or []:
                children.append(body)
                place = f"children/{kind.kind}-{body['metadata']['name']}"
                self._found.objects.append((place, body))
        return children

    def _events(self, names: set[str]) -> None:
        events = self._read("events", EVENT) or []
        mine = [event for event in events if (event.get("involvedObject") or {}).get("name") in names]
        mine.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
        self._found.objects.append(("events", mine))

    def _operators(self, namespace: str) -> list[Object]:
        if self.operator_namespace is not None:
            return (
                self._read("the operator", POD, selector=OPERATORS, namespace=self.operator_namespace) or []
            )
        try:
            pods = self.cluster.find(POD, selector=OPERATORS, namespace=None)
        except ClusterError:
            pods = self._read("the operator", POD, selector=OPERATORS, namespace=namespace) or []
        if not pods:
            self._found.problems.append("the operator: no pods found; say where by --operator-namespace")
        return pods

    def _logs(self, folder: str, pod: Object, about: str | None = None) -> None:
        """Of all containers, and of those that were restarted before."""
        namespace, name = name_of(pod)
        for container, previous in _containers(pod):
            try:
                text = self.cluster.log(namespace, name, container, lines=self.lines, previous=previous)
            except ClusterError as error:
                self._found.problems.append(f"log of {name}/{container}: {error}")
                continue
            if about is not None:
                text = "\n".join(line for line in text.splitlines() if about in line)
            file = f"{'previous-' if previous else ''}{container}.log"
            self._found.logs.append((f"{folder}/{name}/{file}", text))

    def _schema(self) -> None:
        formats = ((self.pipeline.get("spec") or {}).get("source") or {}).get("format") or {}
        self._found.schema = formats.get("schema") or ""
        ref = formats.get("schemaConfigMapRef")
        if not ref:
            return
        try:
            data = self.cluster.get(CONFIG_MAP, ref["name"]).get("data") or {}
        except ClusterError as error:
            self._found.problems.append(f"names of the records' fields: {error}")
            return
        self._found.schema = data.get(ref["key"]) or ""

    def _versions(self, pods: list[Object]) -> None:
        images = {image for pod in pods for image in _images(pod)}
        versions: dict[str, Any] = {
            "images": sorted(images),
            "python": platform.python_version(),
            "kubernetesClient": version("kubernetes"),
        }
        try:
            versions["kubernetes"] = json.loads(self.cluster.request("GET", "/version"))["gitVersion"]
        except ClusterError as error:
            self._found.problems.append(f"version of Kubernetes: {error}")
        self._found.objects.append(("versions", versions))


def _component(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(COMPONENT, ""))


def _containers(pod: Object) -> Iterator[tuple[str, bool]]:
    """(name, whether the log before its last restart is meant)."""
    states = (pod.get("status") or {}).get("containerStatuses") or []
    restarted = {state["name"] for state in states if state.get("restartCount")}
    for container in (pod.get("spec") or {}).get("containers") or []:
        yield container["name"], False
        if container["name"] in restarted:
            yield container["name"], True


def _images(body: Object) -> Iterator[str]:
    if body["kind"] == POD.kind:
        for state in (body.get("status") or {}).get("containerStatuses") or []:
            yield f"{state.get('image')} {state.get('imageID', '')}".strip()
