"""Options that all commands on a cluster share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Output(StrEnum):
    """How a command prints what it found."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


class Pin(StrEnum):
    """Which engine is to have the work."""

    FLINK = "flink"
    DASK = "dask"
    NONE = "none"


@dataclass(frozen=True)
class Access:
    """Which cluster and namespace. None: as the kubeconfig has it."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: Path | None = None


NameArgument = Annotated[str, typer.Argument(help="name of the StreamPipeline")]
OptionalNameArgument = Annotated[
    str | None, typer.Argument(help="name of the StreamPipeline; without: all of the namespace")
]
NamespaceOption = Annotated[
    str | None, typer.Option("-n", "--namespace", help="namespace; without: the context's")
]
ContextOption = Annotated[str | None, typer.Option(help="context of the kubeconfig; without: the current")]
KubeconfigOption = Annotated[
    Path | None, typer.Option(help="kubeconfig file; without: $KUBECONFIG, then ~/.kube/config")
]
OutputOption = Annotated[Output, typer.Option("-o", "--output", help="how the result is printed")]
