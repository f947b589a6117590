"""`dlq` and `backfill`: asked of a pipeline on a cluster, or done here with the file of one of its jobs."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streampipeline.api import oneoff
from streampipeline.api.oneoff import Backfill, Dlq, OneOff
from streampipeline.cluster.client import Cluster
from streampipeline.cluster.exits import FINE, PROBLEM, ClusterError, TimedOutError
from streampipeline.cluster.options import Output
from streampipeline.cluster.output import emit, now_ms, utc
from streampipeline.cluster.pods import LOG_SHOWN, Tell, find_json, log_of, outcome, wait
from streampipeline.cluster.resource import required_memory, typed_status
from streampipeline.jobconfig import JobConfig

SAID = "said"
"""What every answer has: a sentence."""
WHAT: dict[type[OneOff], str] = {Dlq: "it", Backfill: "the backfill"}


def is_file(name: str) -> bool:
    """Whether a job's file is named, not a pipeline."""
    return name.endswith(".json") or os.sep in name


def here(file: Path, asked: OneOff, timeout: float, output: Output) -> int:
    """Do it in this process. Raises ClusterError when it cannot be done."""
    from streampipeline.oneoff import answer

    try:
        config = JobConfig.load(file)
    except OSError as error:
        raise ClusterError(f"{file} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise ClusterError(f"{file} is no job's file: {error.errors()[0]['msg']}") from None
    found = answer(config, asked, timeout)
    return _end(config.pipeline, found.code, found.as_data(), output)


def on_cluster(cluster: Cluster, name: str, asked: OneOff, timeout: float, output: Output, tell: Tell) -> int:
    """Have the operator do it in a pod, and print its answer. `timeout` 0: only ask.

    Raises ClusterError when it was refused or failed, TimedOutError when it is not over in time.
    """
    body = cluster.pipeline(name)
    memory = required_memory(body)
    if memory.state.origin is None:
        raise ClusterError(f"{name} has not begun: there is nothing to do it with")
    if isinstance(asked, Backfill):
        if body["spec"].get("suspend"):
            raise ClusterError(f"{name} is suspended: windows are recomputed when it runs")
        _check(asked, typed_status(body).frontier)
    annotation = next(key for key, kind in oneoff.KINDS.items() if isinstance(asked, kind))
    cluster.annotate(name, annotation, oneoff.dump(asked))
    tell(f"{annotation.partition('/')[2]} {asked.id} is asked for")
    if timeout <= 0:
        emit({"name": name, "id": asked.id}, f"{name}: asked for; events tell what comes of it", output)
        return FINE
    pod = wait(cluster, name, annotation, asked.id, WHAT[type(asked)], timeout, tell)
    code, reason = outcome(pod)
    log = log_of(cluster, pod)
    found = find_json(log, {SAID})
    if code is None or found is None:
        raise ClusterError("\n".join([f"it failed: {reason}", *log.splitlines()[-LOG_SHOWN:]]))
    return _end(name, code, found, output)


def _check(asked: Backfill, frontier: int | None) -> None:
    """What can be told without Kafka, at once. Raises ClusterError."""
    start, end = oneoff.ms(asked.start), oneoff.ms(asked.end)
    if end <= start:
        raise ClusterError("the span is empty: it ends before it begins")
    if end > now_ms():
        raise ClusterError("the span ends in the future")
    if frontier is None:
        raise ClusterError("nothing is written yet: there is nothing to recompute")


def _end(name: str, code: int, data: dict[str, Any], output: Output) -> int:
    said = str(data[SAID])
    if code not in (FINE, PROBLEM):
        raise (TimedOutError if code == TimedOutError.code else ClusterError)(said)
    emit({"name": name, **data}, picture(name, data), output)
    return code


def picture(name: str, data: dict[str, Any]) -> RenderableType:
    """The sentence, and a table of letters where there are any."""
    head = f"{name}: {data[SAID]}"
    letters = data.get("letters")
    if letters is None:
        return head
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in data["reasons"].items())
    table = Table(box=None, pad_edge=False)
    columns: dict[str, Callable[[dict[str, Any]], object]] = {
        "reason": lambda letter: letter["reason"],
        "partition": lambda letter: letter["partition"],
        "offset": lambda letter: letter["offset"],
        "time": lambda letter: utc(letter["timestamp"]),
        "key": lambda letter: _size(letter["keyBytes"]),
        "value": lambda letter: _size(letter["valueBytes"]),
        "headers": lambda letter: letter["headers"],
        "replay of": lambda letter: letter["replayOf"] or "",
        "replayed": lambda letter: "yes" if letter["replayed"] else "",
    }
    for column in columns:
        table.add_column(column, justify="left" if column in ("reason", "time") else "right")
    for letter in letters:
        table.add_row(*(Text(str(cell(letter))) for cell in columns.values()))
    contents = [line for letter in letters if "value" in letter for line in _contents(letter)]
    return Group(*([head, f"of them {reasons}", table, *contents] if letters else [head]))


def _size(count: int | None) -> str:
    return "null" if count is None else f"{count:,} B"


def _contents(letter: dict[str, Any]) -> list[Text]:
    headers = ", ".join(f"{name}={_shown(value)}" for name, value in letter["headerValues"])
    place = f"{letter['partition']}/{letter['offset']}"
    return [
        Text(f"{place} key {_shown(letter['key'])}, headers {headers or 'none'}"),
        Text(f"{place} value {_shown(letter['value'])}"),
    ]


def _shown(encoded: str | None) -> str:
    """Text as Python would write it, else hexadecimal: nothing that a terminal obeys."""
    if encoded is None:
        return "null"
    value = base64.b64decode(encoded)
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.hex()
    return repr(text) if text.isprintable() else value.hex()
