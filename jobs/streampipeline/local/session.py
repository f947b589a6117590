"""From a checked file to an outcome: the order of a run's stages, and what is printed at its end."""

from __future__ import annotations

import typer

from streampipeline.api.load import Manifest
from streampipeline.api.spec import StreamPipeline
from streampipeline.local.outcome import Outcome
from streampipeline.local.run import Run
from streampipeline.local.settings import RunSettings
from streampipeline.local.view import View


def run_pipeline(manifest: Manifest, pipeline: StreamPipeline, settings: RunSettings, view: View) -> Outcome:
    """Run to the end of the stream, or until the user stops it; a second Ctrl-C skips the audit.

    Raises RunError, MissingProgramError, ChangedPipelineError.
    """
    with Run(manifest, pipeline, settings, view) as running:
        running.start()
        running.loop()
        if running.stopping:
            view.say("stopped; auditing what is there (Ctrl-C again to skip)")
        view.close()
        try:
            outcome = running.outcome()
        except KeyboardInterrupt:
            outcome = Outcome(running.status.state.phase, True, None, {})
        running.ground.close()
    _print(outcome, settings)
    return outcome


def _print(outcome: Outcome, settings: RunSettings) -> None:
    if settings.json_output:
        return
    report = outcome.report
    phases = report.get("phases", [])
    if phases:
        began = phases[0]["at"]
        steps = "  ".join(f"{step['phase']} +{(step['at'] - began) / 1000:.0f}s" for step in phases)
        typer.echo(f"phases: {steps}")
    if report.get("seconds_to_fallback") is not None:
        typer.echo(
            f"after the first fault: Fallback in {report['seconds_to_fallback']} s, "
            f"first Dask result in {report['seconds_to_first_fallback_result']} s"
        )
    audit = outcome.audit
    if audit is None:
        typer.echo("no audit was made")
        return
    windows = ", ".join(f"{source} {count}" for source, count in audit["by_source"].items())
    verdict = "nothing lost, doubled or different" if outcome.clean else "NOT exact"
    typer.echo(
        f"audit: {verdict}: {audit['produced']} records produced = {audit['counted']} counted + "
        f"{audit['dead_lettered']} dead-lettered + {audit['pending']} pending; "
        f"{audit['windows_expected']} windows ({windows}); lost {audit['lost']}, doubled {audit['doubled']}, "
        f"differing {audit['differing']}, unscored {audit['unscored']}"
    )
    if settings.report is not None:
        typer.echo(f"report: {settings.report}")
