"""Publishing finished windows: the one path by which Flink, Dask and the repair write.

The order of effects is what the frontier rests on: values, the model's answers, requests to repair what was
not scored (acknowledged by the broker), then the points. So an unscored point in the sink has its request.
Publishing the same windows again replaces their points by equal ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from streampipeline.jobconfig import EngineName, JobConfig
from streampipeline.points import FloatArray, addresses, aggregate_values, points_schema, points_table
from streampipeline.requests import RepairRequest, RequestWriter
from streampipeline.retry import Stopped, until_available
from streampipeline.score import Scorer
from streampipeline.sinks.base import Fenced, Rejected, Sink, SinkUnavailable
from streampipeline.sinks.opening import open_sink

__all__ = ["Fenced", "PublishReport", "Publisher", "Rejected", "Stopped"]

log = structlog.get_logger(__name__)

REJECTED_SHOWN = 3


@dataclass(frozen=True)
class PublishReport:
    """What became of one batch of windows."""

    windows: int
    """Windows given, the rejected ones among them."""
    unscored: int
    """Windows that got the default instead of the model's answer."""
    rejected: tuple[Rejected, ...]
    """Points that the sink will never take."""
    seconds: float


class Publisher:
    """Scores windows and writes their points. Not for use by several threads."""

    def __init__(
        self,
        config: JobConfig,
        source: EngineName,
        scorer: Scorer,
        requests: RequestWriter,
        sink: Sink,
        should_stop: Callable[[], bool],
    ) -> None:
        self._config = config
        self._source = source
        self._scorer = scorer
        self._requests = requests
        self._sink = sink
        self._should_stop = should_stop

    @classmethod
    def open(
        cls,
        config: JobConfig,
        *,
        source: EngineName,
        should_stop: Callable[[], bool] = lambda: False,
        must_score: bool = False,
    ) -> Self:
        """Neither model, broker nor sink need be up yet.

        `should_stop` ends waiting (Stopped); it is asked from the thread that publishes. `must_score`:
        publish raises ModelUnavailable, and writes nothing, when the model does not answer. Raises Fenced
        when the token file is gone, ValueError when the spec cannot be published.
        """
        points_schema(config.spec)
        return cls(
            config,
            source,
            Scorer(
                config.spec.model,
                config.model_url,
                should_stop,
                version=config.model_version,
                must_answer=must_score,
            ),
            RequestWriter(config, should_stop),
            open_sink(config),
            should_stop,
        )

    def publish(self, windows: pa.Table) -> PublishReport:
        """Put finished windows (`windows_schema`) into the sink; returns once they are there.

        Blocks, with growing pauses and a log line for each attempt, while the sink, the broker or (policy
        Wait) the model is unavailable. Raises Fenced (fatal: this engine may not write any more) and
        Stopped.
        """
        started = time.monotonic()
        if windows.num_rows == 0:
            return PublishReport(0, 0, (), 0.0)
        values = aggregate_values(self._config.spec, windows)
        scores = self._scorer.score(self._model_inputs(values))
        points = points_table(self._config, self._source, windows, values, scores, time.time_ns())
        unscored = self._request_repairs(points)
        rejected = self._write(points)
        return PublishReport(windows.num_rows, unscored, tuple(rejected), time.monotonic() - started)

    def close(self) -> None:
        """Let go of the connections."""
        self._scorer.close()
        self._sink.close()

    def _model_inputs(self, values: dict[str, pa.Array[Any]]) -> FloatArray:
        """Shape (windows, inputs), float64."""
        columns = [values[name].to_numpy() for name in self._config.spec.model.inputs]
        return np.column_stack(columns).astype(np.float64)

    def _request_repairs(self, points: pa.Table) -> int:
        unscored = addresses(points.filter(pc.invert(points["scored"])))
        self._requests.write([RepairRequest.unscored(key, start) for key, start in unscored])
        return len(unscored)

    def _write(self, points: pa.Table) -> list[Rejected]:
        rejected: list[Rejected] = []
        for start in range(0, points.num_rows, self._sink.max_rows):
            write = partial(self._sink.write, points.slice(start, self._sink.max_rows))
            rejected += until_available(write, SinkUnavailable, self._should_stop)
        if rejected:
            log.error("points rejected by the sink", count=len(rejected), first=rejected[:REJECTED_SHOWN])
        return rejected
