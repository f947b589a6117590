"""Logs of the product's processes: JSON lines on standard error."""

from __future__ import annotations

import logging
import os
import sys

import structlog


def configure() -> None:
    """Set up structlog for a process. `STREAMPIPELINE_LOG_LEVEL` (default INFO) says from which level on."""
    name = os.environ.get("STREAMPIPELINE_LOG_LEVEL", "INFO").upper()
    level = logging.getLevelNamesMapping().get(name, logging.INFO)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
