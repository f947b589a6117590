"""Logs of the product's processes: JSON lines on standard error, or where a host's own logging puts them."""

from __future__ import annotations

import logging
import os
import sys

import structlog


def configure(*, through_logging: bool = False) -> None:
    """Set up structlog for a process. `STREAMPIPELINE_LOG_LEVEL` (default INFO) says from which level on.

    `through_logging`: hand the lines to Python's logging, where a host has its own way with output: Flink's
    Python workers replace `print` by one that takes no `flush`.
    """
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
        logger_factory=structlog.stdlib.LoggerFactory()
        if through_logging
        else structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
