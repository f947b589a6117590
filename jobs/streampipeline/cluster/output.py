"""How commands print: text for people, JSON or YAML for programs."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

import yaml
from rich.console import Console, RenderableType

from streampipeline.cluster.options import Output

PLAIN_WIDTH = 160
"""Of text that goes to no terminal."""


def now_ms() -> int:
    """Ms since 1970 UTC."""
    return time.time_ns() // 1_000_000


def utc(ms: int) -> str:
    """`2025-01-31T12:00:00Z`."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def console() -> Console:
    """Standard output."""
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False, emoji=False)


def emit(data: Any, text: RenderableType, output: Output) -> None:
    """Print one result in the form that was asked for."""
    if output is Output.JSON:
        print(json.dumps(data, indent=1, ensure_ascii=False), flush=True)
    elif output is Output.YAML:
        print(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), end="", flush=True)
    else:
        console().print(text, soft_wrap=isinstance(text, str), markup=False)
