"""The commands on a cluster, a thin table. What they need is imported when they run: --help is quick."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from streampipeline.cluster.exits import ClusterError
from streampipeline.cluster.options import (
    Access,
    ContextOption,
    KubeconfigOption,
    NameArgument,
    NamespaceOption,
    OptionalNameArgument,
    Output,
    OutputOption,
    Pin,
)
from streampipeline.cluster.running import run, tell

if TYPE_CHECKING:
    from streampipeline.cluster.client import Cluster

app = typer.Typer()
PANEL = "On a cluster"


@app.command(rich_help_panel=PANEL)
def status(
    name: OptionalNameArgument = None,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="until Ctrl-C")] = False,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Say where a pipeline stands. Exit code 1: not Ready."""
    from streampipeline.cluster import status as command

    def work(cluster: Cluster) -> int:
        if not watch:
            return command.show(cluster, name, output)
        if name is None:
            raise ClusterError("--watch needs the name of a pipeline")
        return command.watch(cluster, name, output)

    raise run(Access(namespace, context, kubeconfig), work)


@app.command(rich_help_panel=PANEL)
def explain(
    name: NameArgument,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Say what the last decisions saw, which rule fired, and what would make it switch now."""
    from streampipeline.cluster import explain as command

    raise run(Access(namespace, context, kubeconfig), lambda cluster: command.show(cluster, name, output))


@app.command(rich_help_panel=PANEL)
def drill(
    name: NameArgument,
    wait: Annotated[bool, typer.Option("--wait", help="follow it until Normal again")] = False,
    timeout: Annotated[float, typer.Option(help="seconds that --wait waits at most", min=1)] = 600,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Have Dask take over and hand back, as planned. Exit code 1: skipped or abandoned."""
    from streampipeline.cluster import drill as command

    access = Access(namespace, context, kubeconfig)
    raise run(access, lambda cluster: command.drill(cluster, name, wait, timeout, output, tell))


@app.command(rich_help_panel=PANEL)
def pin(
    name: NameArgument,
    engine: Annotated[Pin, typer.Argument(help="none: the rules decide again")],
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Give the work to one engine for as long as it is pinned."""
    from streampipeline.cluster import control

    access = Access(namespace, context, kubeconfig)
    raise run(access, lambda cluster: control.pin(cluster, name, engine, output))


@app.command("accept-loss", rich_help_panel=PANEL)
def accept_loss(
    name: NameArgument,
    reason: Annotated[str, typer.Option(help="why; it is kept with the resource")],
    yes: Annotated[bool, typer.Option("--yes", help="go on; without: only say how many are gone")] = False,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Let a pipeline that stopped (RetentionPassed) go on without the records that are gone."""
    from streampipeline.cluster import control

    access = Access(namespace, context, kubeconfig)
    raise run(access, lambda cluster: control.accept_loss(cluster, name, reason, yes, output))


@app.command(rich_help_panel=PANEL)
def suspend(
    name: NameArgument,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Stop a pipeline's engines (spec.suspend)."""
    from streampipeline.cluster import control

    access = Access(namespace, context, kubeconfig)
    raise run(access, lambda cluster: control.suspend(cluster, name, True, output))


@app.command(rich_help_panel=PANEL)
def resume(
    name: NameArgument,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Let a suspended pipeline go on from its frontier."""
    from streampipeline.cluster import control

    access = Access(namespace, context, kubeconfig)
    raise run(access, lambda cluster: control.suspend(cluster, name, False, output))


@app.command(rich_help_panel=PANEL)
def report(
    name: NameArgument,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", help="the zip; without: NAME-report-TIME.zip here")
    ] = None,
    lines: Annotated[int, typer.Option(help="newest lines of each log", min=1)] = 2000,
    operator_namespace: Annotated[
        str | None, typer.Option(help="where the operator runs; without: looked for in all namespaces")
    ] = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Write a zip for support: objects, events and logs, without secrets and contents of records."""
    from streampipeline.cluster import report as command

    access = Access(namespace, context, kubeconfig)
    raise run(
        access, lambda cluster: command.report(cluster, name, file, lines, operator_namespace, output, tell)
    )


class _NameOrFile(TyperCommand):
    """Keeps all arguments as they are when one is a job's file: they are the audit's own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        file = next((each for each in _positional(args) if each.endswith(".json") or os.sep in each), None)
        if file is None or "--help" in args:
            return super().parse_args(ctx, args)
        ctx.meta["audit"] = list(args)
        return super().parse_args(ctx, ["--", file])


def _positional(args: list[str]) -> list[str]:
    """Without options and the values of those that name a cluster."""
    before = ["", *args]
    named = ("--kubeconfig", "--context", "-n", "--namespace")
    return [each for each, last in zip(args, before, strict=False) if each[:1] != "-" and last not in named]


@app.command(cls=_NameOrFile)
def audit(
    context_: typer.Context,
    name: Annotated[
        str, typer.Argument(help="name of a StreamPipeline, or a job's file", metavar="NAME|FILE")
    ],
    timeout: Annotated[float, typer.Option(help="seconds to wait at most", min=1)] = 600,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Recompute every window from the topic and compare it with what is in the sink. Exit code 1: not exact.

    With the name of a StreamPipeline: in a pod of the cluster. With a job's file of `run`
    (`<workdir>/jobs/*.json`): here, with the options of `python -m streampipeline_audit`.
    """
    if "audit" in context_.meta:
        argv = [sys.executable, "-m", "streampipeline_audit", *context_.meta["audit"]]
        raise typer.Exit(subprocess.run(argv, check=False).returncode)

    from streampipeline.cluster import audit as command

    access = Access(namespace, context, kubeconfig)
    raise run(access, lambda cluster: command.audit(cluster, name, timeout, output, tell))
