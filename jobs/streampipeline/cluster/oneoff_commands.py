"""The commands `dlq` and `backfill`, which work on a cluster and on one machine. Imports wait, as there."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streampipeline.cluster.exits import ClusterError
from streampipeline.cluster.options import (
    Access,
    ContextOption,
    KubeconfigOption,
    NamespaceOption,
    Output,
    OutputOption,
)
from streampipeline.cluster.running import run, tell

if TYPE_CHECKING:
    from streampipeline.api.oneoff import OneOff

app = typer.Typer()
dlq = typer.Typer(help="Look into the dead-letter topic, and send letters back.", no_args_is_help=True)
app.add_typer(dlq, name="dlq")

_AGO = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _instant(text: str) -> datetime:
    """`2025-01-31T12:00:00Z`, or `90s`, `30m`, `2h`, `7d` ago."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise typer.BadParameter("a time such as 2025-01-31T12:00:00Z, or how long ago: 90s, 30m, 2h, 7d")
    return instant


NameOrFile = Annotated[
    str, typer.Argument(help="name of a StreamPipeline, or a job's file of run", metavar="NAME|FILE")
]
ReasonOption = Annotated[
    list[str] | None, typer.Option("--reason", help="such as TooLate; again for more; without: any")
]
PartitionOption = Annotated[
    list[int] | None, typer.Option("--partition", help="of the source topic; again for more", min=0)
]
SinceOption = Annotated[
    datetime | None,
    typer.Option(
        parser=_instant, metavar="TIME", help="records no older: 2025-01-31T12:00:00Z, or ago: 30m, 2h"
    ),
]
LimitOption = Annotated[int, typer.Option(help="letters at most, the oldest first", min=1, max=100_000)]
TimeoutOption = Annotated[float, typer.Option(help="seconds to wait at most", min=1)]


def _end(name: str, access: Access, asked: OneOff, timeout: float, output: Output) -> typer.Exit:
    from streampipeline.cluster import oneoff as command

    if not command.is_file(name):
        return run(access, lambda cluster: command.on_cluster(cluster, name, asked, timeout, output, tell))
    try:
        return typer.Exit(command.here(Path(name), asked, timeout, output))
    except ClusterError as error:
        typer.echo(f"streampipeline: {error}", err=True)
        return typer.Exit(error.code)


@dlq.command("list")
def list_letters(
    name: NameOrFile,
    reason: ReasonOption = None,
    partition: PartitionOption = None,
    since: SinceOption = None,
    limit: LimitOption = 100,
    show_contents: Annotated[
        bool, typer.Option("--show-contents", help="keys, values and headers: they may be patients' data")
    ] = False,
    timeout: TimeoutOption = 120,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """List refused records, each once, without what they hold."""
    from streampipeline.api.oneoff import Dlq, DlqVerb
    from streampipeline.cluster.pods import new_request

    asked = Dlq(
        id=new_request(),
        verb=DlqVerb.LIST,
        reasons=reason or [],
        partitions=partition or [],
        since=since,
        limit=limit,
        show_contents=show_contents,
    )
    raise _end(name, Access(namespace, context, kubeconfig), asked, timeout, output)


@dlq.command()
def replay(
    name: NameOrFile,
    reason: ReasonOption = None,
    partition: PartitionOption = None,
    since: SinceOption = None,
    limit: LimitOption = 100,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be done")] = False,
    again: Annotated[bool, typer.Option("--again", help="letters that were replayed before too")] = False,
    timeout: TimeoutOption = 120,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Send refused records to the source topic again, as they came. Exit code 1: not all could be.

    Those that would be refused again stay, and so do those that were replayed before.
    """
    from streampipeline.api.oneoff import Dlq, DlqVerb
    from streampipeline.cluster.pods import new_request

    asked = Dlq(
        id=new_request(),
        verb=DlqVerb.REPLAY,
        reasons=reason or [],
        partitions=partition or [],
        since=since,
        limit=limit,
        again=again,
        dry_run=dry_run,
    )
    raise _end(name, Access(namespace, context, kubeconfig), asked, timeout, output)


@app.command()
def backfill(
    name: NameOrFile,
    start: Annotated[
        datetime, typer.Option("--from", parser=_instant, metavar="TIME", help="such as 2025-01-31T12:00:00Z")
    ],
    end: Annotated[
        datetime, typer.Option("--to", parser=_instant, metavar="TIME", help="exclusive; or ago: 30m, 2h")
    ],
    key: Annotated[
        str | None, typer.Option(help="of this key only; it stands in the resource then, and in the pod")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="whatever it costs")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="until it is done")] = True,
    timeout: TimeoutOption = 600,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Have every window recomputed that holds an instant of the span. Exit code 1: its records are gone."""
    from streampipeline.api.oneoff import Backfill
    from streampipeline.cluster.pods import new_request

    asked = Backfill(id=new_request(), start=start, end=end, key=key, yes=yes)
    access = Access(namespace, context, kubeconfig)
    raise _end(name, access, asked, timeout if wait else 0, output)
