"""What the pipeline asks of a place that keeps its points, and how such a place says no."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from streampipeline.jobconfig import EngineName

if TYPE_CHECKING:  # the operator has no tables
    import pyarrow as pa


class SinkUnavailable(Exception):
    """The sink cannot take points now; writing the same points again later is safe."""


class Fenced(Exception):
    """The right to write is gone. Fatal to the engine: another one owns its windows."""


@dataclass(frozen=True)
class Rejected:
    """A point that the sink will never take."""

    key: str
    window_start: int
    """Milliseconds since 1970, UTC."""
    reason: str


class Sink(Protocol):
    """Keeps points. Not for use by several threads."""

    max_rows: int
    """Most points of one call of `write`."""

    def write(self, points: pa.Table) -> list[Rejected]:
        """Put points (`points.points_schema`) into the sink; those of equal address are replaced.

        When it returns, every point but the rejected ones is durable. Raises SinkUnavailable, Fenced.
        """
        ...

    def close(self) -> None:
        """Let go of what is open; nothing is written."""
        ...


class SinkAdmin(Protocol):
    """The operator's side of a sink. Every method is idempotent and may raise SinkUnavailable."""

    def prepare(self) -> None:
        """Make what the sink needs before a first write."""
        ...

    def issue(self, epoch: int, engine: EngineName, token_file: Path) -> bool:
        """Write the right of one (epoch, engine) to `token_file` (0600). False: it cannot be taken back."""
        ...

    def issue_reader(self, token_file: Path) -> bool:
        """Write a right to read only, for the audit, to `token_file`. False: it is more than that."""
        ...

    def revoke(self, epoch: int, engine: EngineName, token_file: Path) -> bool:
        """Take the right back and remove `token_file`. False: what was issued still works."""
        ...

    def clear(self, pipeline: str, start: int, *, epoch: int, token_file: Path) -> None:
        """Remove the points of `pipeline` whose window starts at `start` (ms) or later. Nobody may write now.

        Done with a right of its own, that of (`epoch`, repair), which is revoked before this returns: a call
        that hung for long removes nothing any more. `token_file`: where it is kept meanwhile. Raises Fenced
        when another call did the same meanwhile.
        """
        ...

    def probe(self) -> None:
        """Really write something that is no point. Raises SinkUnavailable, Fenced."""
        ...


def write_secret(path: Path, text: str) -> None:
    """Replace the file at `path` by `text` in one step, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def read_token(path: str | Path) -> str:
    """The token in a file. Raises Fenced when the file is gone or empty."""
    try:
        token = Path(path).read_text().strip()
    except FileNotFoundError:
        raise Fenced(f"the token file {path} is gone") from None
    if not token:
        raise Fenced(f"the token file {path} is empty")
    return token
