"""What the chart tells the operator, through its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

IMAGES = ("flink", "dask", "model-server", "influxdb")
"""Images that pipelines are made of, by the names that the chart uses."""


class SettingsError(Exception):
    """A variable is missing or wrong; the message names it."""


@dataclass(frozen=True)
class Settings:
    """Of one operator process."""

    namespace: str
    """The operator's own: its Lease is there."""
    identity: str
    """Of this replica."""
    images: Mapping[str, str]
    pull_secrets: tuple[str, ...] = ()
    pull_policy: str = "IfNotPresent"
    watch_namespaces: tuple[str, ...] = ()
    """Empty: all."""
    workdir: Path = Path("/tmp/streampipeline")  # noqa: S108 - an emptyDir in memory, this container's alone
    metrics_port: int = 8080
    service_account: str = "streampipeline-operator"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Raises SettingsError."""
        found = os.environ if environ is None else environ
        images = {}
        for name in IMAGES:
            variable = f"STREAMPIPELINE_IMAGE_{name.upper().replace('-', '_')}"
            if not found.get(variable):
                raise SettingsError(f"{variable} is missing: the chart sets it to the image of {name}")
            images[name] = found[variable]
        for variable in ("POD_NAMESPACE", "POD_NAME"):
            if not found.get(variable):
                raise SettingsError(f"{variable} is missing: the chart sets it from the pod's metadata")
        return cls(
            namespace=found["POD_NAMESPACE"],
            identity=found["POD_NAME"],
            images=images,
            pull_secrets=_names(found.get("STREAMPIPELINE_IMAGE_PULL_SECRETS", "")),
            pull_policy=found.get("STREAMPIPELINE_IMAGE_PULL_POLICY") or cls.pull_policy,
            watch_namespaces=_names(found.get("STREAMPIPELINE_WATCH_NAMESPACES", "")),
            workdir=Path(found.get("STREAMPIPELINE_WORKDIR") or cls.workdir),
            metrics_port=int(found.get("STREAMPIPELINE_METRICS_PORT") or cls.metrics_port),
            service_account=found.get("STREAMPIPELINE_SERVICE_ACCOUNT") or cls.service_account,
        )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
