"""How every command on a cluster runs and ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from streampipeline.cluster.exits import ClusterError
from streampipeline.cluster.options import Access

if TYPE_CHECKING:
    from streampipeline.cluster.client import Cluster

NOT_ENDED = 130
"""Of a command that Ctrl-C has ended."""


def run(access: Access, work: Callable[[Cluster], int]) -> typer.Exit:
    """Do the work; an error is one line, and its exit code."""
    from streampipeline.cluster.client import Cluster

    try:
        return typer.Exit(work(Cluster.connect(access)))
    except ClusterError as error:
        typer.echo(f"streampipeline: {error}", err=True)
        return typer.Exit(error.code)
    except KeyboardInterrupt:
        return typer.Exit(NOT_ENDED)


def tell(text: str) -> None:
    """Progress goes beside the result."""
    typer.echo(text, err=True)
