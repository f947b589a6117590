"""`audit`: ask for one, follow its pod, read the report from its log."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streampipeline.api import controls
from streampipeline.cluster.client import Cluster
from streampipeline.cluster.exits import FINE, PROBLEM, ClusterError
from streampipeline.cluster.options import Output
from streampipeline.cluster.output import emit
from streampipeline.cluster.pods import LOG_SHOWN, Tell, find_json, log_of, new_request, outcome, wait
from streampipeline.cluster.resource import required_memory

WRONG = ("lost", "doubled", "differing")
COUNTS = ("produced", "counted", "dead_lettered", "pending", "windows_expected", *WRONG, "unscored")


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
    request = new_request()
    cluster.annotate(name, controls.AUDIT, request)
    tell(f"audit {request} is asked for")
    pod = wait(cluster, name, controls.AUDIT, request, "the audit", timeout, tell)
    code, reason = outcome(pod)
    log = log_of(cluster, pod)
    report = find_json(log, set(WRONG))
    if code not in (FINE, PROBLEM) or report is None:
        why = f"its log holds no report ({reason})" if code in (FINE, PROBLEM) else reason
        raise ClusterError("\n".join([f"no audit could be made: {why}", *log.splitlines()[-LOG_SHOWN:]]))
    emit(report, picture(name, report), output)
    return code


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
