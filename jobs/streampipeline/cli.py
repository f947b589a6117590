"""The command line: `validate`, `run`, `simulate`, and the commands on a cluster; some of those also here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from streampipeline.cluster import commands, oneoff_commands
from streampipeline.cluster.exits import TABLE, USAGE
from streampipeline.cluster.options import Output, OutputOption

app = typer.Typer(
    name="streampipeline",
    help="Live streams, exact while engines come and go.",
    epilog=TABLE,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


def _fail(message: str) -> typer.Exit:
    typer.echo(f"streampipeline: {message}", err=True)
    return typer.Exit(USAGE)


@app.command()
def validate(
    file: Annotated[Path, typer.Argument(help="YAML with StreamPipelines, as for kubectl apply")],
    output: Annotated[str, typer.Option("-o", "--output", help="text or json")] = "text",
) -> None:
    """Say everything that is wrong with a file, each with its field and remedy."""
    from streampipeline.api.cli_validate import validate_file

    raise typer.Exit(validate_file(file, output="json" if output == "json" else "text", environ=os.environ))


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="YAML with a StreamPipeline")],
    name: Annotated[str | None, typer.Option(help="which one, when the file has several")] = None,
    sink: Annotated[
        str, typer.Option(help="spec (as the file says) or parquet (files in the working directory)")
    ] = "spec",
    duration: Annotated[float | None, typer.Option(help="seconds of stream; without: until Ctrl-C")] = None,
    rate: Annotated[str, typer.Option(help="records a second, or max")] = "600",
    data: Annotated[
        Path | None, typer.Option(help="recording (Parquet or CSV) to replay; without: made-up signals")
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="KIND@START[+HOLD], as kill-flink@30s+60s; again for more")
    ] = None,
    drill_at: Annotated[
        float | None, typer.Option(help="seconds into the stream: a planned failover and hand-back")
    ] = None,
    producer: Annotated[
        list[str] | None, typer.Option(help="an option for the producer, as --producer=--late=5")
    ] = None,
    no_producer: Annotated[bool, typer.Option("--no-producer", help="records come from elsewhere")] = False,
    workdir: Annotated[Path | None, typer.Option(help="go on where the run in this directory was")] = None,
    report: Annotated[
        Path | None, typer.Option(help="write phases, figures and the audit to this JSON file")
    ] = None,
    save_trace: Annotated[
        Path | None, typer.Option(help="write what each look saw to this file, for `simulate`")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="JSON lines instead of a picture")] = False,
) -> None:
    """Run a pipeline on this machine, with every part as a process, and audit it at the end."""
    from confluent_kafka import KafkaException

    from streampipeline.api.load import load
    from streampipeline.api.problems import InvalidPipelineError
    from streampipeline.local.faults import parse_fault
    from streampipeline.local.outcome import AuditFailed
    from streampipeline.local.runtime import MissingProgramError
    from streampipeline.local.session import run_pipeline
    from streampipeline.local.settings import RunSettings, SinkChoice
    from streampipeline.local.site import RunError
    from streampipeline.local.status import ChangedPipelineError
    from streampipeline.local.view import open_view
    from streampipeline.local.workdir import WorkdirInUseError
    from streampipeline.sinks.base import SinkUnavailable

    try:
        settings = RunSettings(
            file=file,
            name=name,
            workdir=workdir or Path("build/run"),
            keep_workdir=workdir is not None,
            sink=SinkChoice(sink),
            duration=duration,
            rate=rate,
            data=data.resolve() if data else None,
            produce=not no_producer,
            producer_options=tuple(producer or ()),
            drill_at=drill_at,
            faults=tuple(parse_fault(text) for text in fault or ()),
            report=report,
            save_trace=save_trace,
            json_output=json_output,
        )
        manifest = load(file)
        pipeline = manifest.pipeline(name, os.environ)
    except InvalidPipelineError as error:
        for problem in error.problems:
            typer.echo(f"{file}: {problem}", err=True)
        raise typer.Exit(USAGE) from None
    except (ValueError, OSError) as error:
        raise _fail(str(error)) from None
    try:
        outcome = run_pipeline(manifest, pipeline, settings, open_view(json_output=json_output))
    except (SinkUnavailable, KafkaException, InvalidPipelineError) as error:
        raise _fail(f"{type(error).__name__}: {error}") from None
    except (MissingProgramError, ChangedPipelineError, WorkdirInUseError, RunError, AuditFailed) as error:
        raise _fail(str(error)) from None
    raise typer.Exit(outcome.exit_code)


@app.command()
def simulate(
    file: Annotated[Path, typer.Argument(help="YAML with a StreamPipeline")],
    trace: Annotated[Path, typer.Option(help="what `run --save-trace` wrote")],
    name: Annotated[str | None, typer.Option(help="which one, when the file has several")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="also with this changed: failover.latencySeconds=10; again for more"),
    ] = None,
    flink_start: Annotated[
        float | None, typer.Option(min=0, help="seconds; without: as in the trace, or 20")
    ] = None,
    dask_start: Annotated[
        float | None, typer.Option(min=0, help="seconds; without: as in the trace, or 10")
    ] = None,
    flink_rate: Annotated[
        float | None, typer.Option(min=1, help="records a second while it catches up; without: 77,875")
    ] = None,
    dask_rate: Annotated[
        float | None, typer.Option(min=1, help="records a second while it catches up; without: 308,660")
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Say what the rules would have done in a recorded run, under the file's thresholds and under others."""
    from streampipeline.api.problems import InvalidPipelineError
    from streampipeline.simulate.command import Settings, compare, show
    from streampipeline.simulate.trace import TraceError

    settings = Settings(
        file, trace, name, tuple(assignments or ()), flink_start, dask_start, flink_rate, dask_rate
    )
    try:
        comparison = compare(settings, os.environ)
    except InvalidPipelineError as error:
        for problem in error.problems:
            typer.echo(f"{file}: {problem}", err=True)
        raise typer.Exit(USAGE) from None
    except (TraceError, ValueError, OSError) as error:
        raise _fail(str(error)) from None
    show(comparison, output)


app.add_typer(commands.app)
app.add_typer(oneoff_commands.app)


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
