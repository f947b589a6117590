"""Reading a job's file that may not be there yet: a changed Secret reaches a running pod later."""

from __future__ import annotations

import time
from pathlib import Path

from streampipeline.jobconfig import JobConfig

WAIT_SECONDS = 120.0
"""Even when nobody hurries it, a kubelet looks at its Secrets every minute or so."""


def load_when_there(path: Path, *, wait_seconds: float = WAIT_SECONDS) -> JobConfig:
    """The job's configuration. Raises OSError when it does not come, pydantic.ValidationError."""
    deadline = time.monotonic() + wait_seconds
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return JobConfig.load(path)
