"""Made-up recordings of runs: a row for each second, or as often as asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support import publish_config

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.decide import Phase
from streampipeline.decide.observed import Health, JobState
from streampipeline.jobconfig import EngineName
from streampipeline.simulate.engines import Engines
from streampipeline.simulate.trace import EngineSeen, Row

START = 1_700_000_000_000
SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
RATE = 600
FLINK, DASK = EngineName.FLINK, EngineName.DASK
ENGINES = Engines(flink_start_ms=12_000, dask_start_ms=8_000, speed={FLINK: 20.0, DASK: 50.0}, sources={})


def spec(policy: str = "Wait", **failover: int) -> StreamPipelineSpec:
    """A small pipeline; `failover`: by its YAML names, else as the product has it."""
    unavailable = {"policy": policy} | ({"default": 1} if policy == "UseDefault" else {})
    document = publish_config.spec(onUnavailable=unavailable)
    return StreamPipelineSpec.model_validate({**document, "failover": failover})


def running(latency_ms: int | None) -> EngineSeen:
    """A job that runs."""
    return EngineSeen(job=JobState.RUNNING, latency_ms=latency_ms)


def row(ms: int, latency_ms: int | None = 2 * SECOND, /, **changes: Any) -> Row:
    """A look `ms` after START: all is well, Flink has the work, with this latency; but for `changes`."""
    usual: dict[str, Any] = {
        "at": START + ms,
        "phase": Phase.NORMAL,
        "active": FLINK,
        "latency_ms": latency_ms,
        **dict.fromkeys(("ground", "kafka", "sink", "model", "flink_cluster"), Health.UP),
        "dask_cluster": Health.DOWN,
        "flink": running(latency_ms),
        "records": RATE * ms // 1000,
    }
    return Row(**{**usual, **changes})


def rows(length_ms: int, make: Callable[[int], Row], every_ms: int = SECOND) -> list[Row]:
    """`make(ms)` for each moment from 0 to `length_ms`."""
    return [make(ms) for ms in range(0, length_ms + 1, every_ms)]


def between(ms: int, began: int, ended: int) -> bool:
    """Whether a moment lies in [began, ended)."""
    return began <= ms < ended
