"""`audit`: ask for one, follow its pod, read the report from its log."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streampipeline.api import controls
from streampipeline.cluster.client import PIPELINE_LABEL, POD, Cluster, Object
from streampipeline.cluster.exits import FINE, PROBLEM, ClusterError, TimedOutError
from streampipeline.cluster.options import Output
from streampipeline.cluster.output import emit
from streampipeline.cluster.resource import required_memory

POLL_SECONDS = 1.0
WRONG = ("lost", "doubled", "differing")
COUNTS = ("produced", "counted", "dead_lettered", "pending", "windows_expected", *WRONG, "unscored")
LOG_SHOWN = 20
"""Lines of an audit that failed."""
Tell = Callable[[str], None]


def audit(cluster: Cluster, name: str, timeout: float, output: Output, tell: Tell = lambda _: None) -> int:
    """Have a pipeline audited, and print the report.

    Returns the audit's own exit code: 0 exact, 1 something is lost, doubled or differs. Raises ClusterError
    when no audit could be made, TimedOutError when it is not over within `timeout` seconds.
    """
    body = cluster.pipeline(name)
    if body["spec"].get("suspend"):
        raise ClusterError(f"{name} is suspended: it is audited when it runs")
    if required_memory(body).state.origin is None:
        raise ClusterError(f"{name} has not begun: there is nothing to audit yet")
    request = f"{datetime.now(UTC):%Y%m%d%H%M%S%f}"[:17]
    cluster.annotate(name, controls.AUDIT, request)
    tell(f"audit {request} is asked for")
    pod = _wait(cluster, name, request, time.monotonic() + timeout, timeout, tell)
    code, reason = outcome(pod)
    log = cluster.log(cluster.namespace, pod["metadata"]["name"], _container(pod)["name"])
    report = find_report(log)
    if code not in (FINE, PROBLEM) or report is None:
        why = f"its log holds no report ({reason})" if code in (FINE, PROBLEM) else reason
        raise ClusterError("\n".join([f"no audit could be made: {why}", *log.splitlines()[-LOG_SHOWN:]]))
    emit(report, picture(name, report), output)
    return code


def find_report(log: str) -> dict[str, Any] | None:
    """The report in a pod's log, whose lines of standard output and standard error are mixed. None: none."""
    lines = log.splitlines()
    for start in reversed([i for i, line in enumerate(lines) if line == "{"]):
        end = next((i for i in range(start, len(lines)) if lines[i] == "}"), None)
        if end is None:
            continue
        # A line of the report is indented; one that stands between them is another stream's.
        inner = [line for line in lines[start + 1 : end] if line.startswith(" ")]
        try:
            found = json.loads("\n".join(["{", *inner, "}"]))
        except ValueError:
            continue
        if set(WRONG) <= found.keys():
            return dict(found)
    return None


def outcome(pod: Object) -> tuple[int | None, str]:
    """Exit code of the pod's container, and why it ended. None: it is not known to have run."""
    for status in pod.get("status", {}).get("containerStatuses") or []:
        ended = (status.get("state") or {}).get("terminated")
        if ended is not None:
            return int(
                ended["exitCode"]
            ), f"exit code {ended['exitCode']}, {ended.get('reason', 'no reason')}"
    status = pod.get("status", {})
    return None, status.get("message") or status.get("reason") or f"pod {status.get('phase', 'Unknown')}"


def verdict(report: dict[str, Any]) -> str:
    """One sentence."""
    windows, records = report["windows_expected"], report["produced"]
    found = [f"{report[kind]:,} {kind}" for kind in WRONG if report[kind]]
    if found:
        return f"Not exact: {', '.join(found)} in {windows:,} windows of {records:,} records."
    if not windows:
        return f"Nothing to judge yet: none of {records:,} records is in a window that is due."
    return f"Exact: nothing is lost, doubled or differing in {windows:,} windows of {records:,} records."


def picture(name: str, report: dict[str, Any]) -> RenderableType:
    """The sentence, the counts, and the examples of what is wrong."""
    wrong = any(report[kind] for kind in WRONG)
    table = Table.grid(padding=(0, 2))
    for count in COUNTS:
        table.add_row(count.replace("_", "-"), f"{report.get(count, 0):,}")
    examples = [
        Text(
            f"{kind}: {example.get('key') or ''} {example.get('window') or ''} "
            f"expected {example.get('expected')}; found {example.get('found')}"
        )
        for kind in WRONG
        for example in (report.get("examples") or {}).get(kind, [])
    ]
    head = Text(f"{name}: {verdict(report)}", style="bold red" if wrong else "green")
    return Group(head, table, *examples)


def _wait(cluster: Cluster, name: str, request: str, deadline: float, timeout: float, tell: Tell) -> Object:
    """The pod of the request, once it has ended."""
    selector = f"{controls.AUDIT}={request},{PIPELINE_LABEL}={name}"
    said = ""
    while True:
        pods = cluster.find(POD, selector=selector)
        phase = pods[0]["status"].get("phase", "Pending") if pods else ""
        if phase in ("Succeeded", "Failed"):
            return pods[0]
        now = f"pod {pods[0]['metadata']['name']} {phase}{_waiting(pods[0])}" if pods else ""
        if now and now != said:
            tell(now)
        said = now
        if time.monotonic() >= deadline:
            why = now or "no operator has made its pod: is one running, and has the pipeline begun?"
            raise TimedOutError(f"the audit is not over after {timeout:g} s: {why}")
        time.sleep(POLL_SECONDS)


def _waiting(pod: Object) -> str:
    """Why its container does not run."""
    for status in pod.get("status", {}).get("containerStatuses") or []:
        waiting = (status.get("state") or {}).get("waiting")
        if waiting is not None:
            return f" ({waiting.get('reason', 'waiting')})"
    return ""


def _container(pod: Object) -> Object:
    found: Object = pod["spec"]["containers"][0]
    return found
