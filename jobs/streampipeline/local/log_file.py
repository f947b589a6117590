"""The run's own log: JSON lines in a file, so that the screen stays for people."""

from __future__ import annotations

from pathlib import Path

import structlog


def log_to(path: Path) -> None:
    """Send structlog's output to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=path.open("a")),
    )
