"""The job of a run's audit: its configuration, with a token that only reads."""

from __future__ import annotations

from pathlib import Path

from streampipeline.decide import State
from streampipeline.engine_ground import EngineGround
from streampipeline.sinks.base import SinkAdmin, write_secret


def write_audit_job(here: Path, state: State, ground: EngineGround, sink_admin: SinkAdmin) -> Path:
    """Issue the token and write the JobConfig, both into `here`; returns the JobConfig's file."""
    token = here / "audit.token"
    sink_admin.issue_reader(token)
    config = ground.configs.reader(state, str(token))
    file = here / "audit.json"
    write_secret(file, config.dump())
    return file
