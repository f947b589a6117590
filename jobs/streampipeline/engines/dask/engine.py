"""One assignment of the Dask engine: waves of offset ranges in, points, progress and offsets out.

Order of effects, a wave: requests and dead letters, points, progress, offsets. Whatever of it is cut off by a
crash is done again by the next engine, with equal results.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
import structlog
from confluent_kafka import KafkaException, TopicPartition

from streampipeline import windows
from streampipeline.deadletters import DeadLetterWriter
from streampipeline.engines.dask import tasks
from streampipeline.engines.dask.clocks import PartitionClocks, closable
from streampipeline.engines.dask.plan import Share, plan, positions_after
from streampipeline.jobconfig import EngineName, JobConfig, TimestampType
from streampipeline.kafka import consumer
from streampipeline.offsets import OffsetLookup
from streampipeline.outbox import Outbox
from streampipeline.progress import ProgressWriter
from streampipeline.publish import Publisher
from streampipeline.requests import RepairReason, RepairRequest, RequestWriter
from streampipeline.retry import Stopped, until_available

log = structlog.get_logger(__name__)

WAVES_IN_FLIGHT = 2
"""One is merged and published while the next is read; more would only pile up results."""

RESULT_POLL_SECONDS = 0.02
"""Between two looks whether a task is done."""
TRANSFER_SECONDS = 10.0
"""How long a result may be on its way from a worker; also, how late a stop is seen then."""


@dataclass(frozen=True)
class _Look:
    """Ends of the partitions: `stable` bounds what is read, `all` (looked up later) says what there is."""

    stable: dict[int, int]
    all: dict[int, int]
    at: float


@dataclass(frozen=True)
class _Wave:
    look: _Look
    shares: list[Share]
    futures: list[Any]
    """`distributed.Future` of `tasks.Result`, one a share."""
    positions: dict[int, int]
    """Where the partitions stand once it is merged."""
    behind: bool
    """More was there than it takes in."""


class Engine:
    """Runs until `stop` is set, on the cluster of a `distributed.Client`. Not thread-safe."""

    def __init__(
        self,
        config: JobConfig,
        client: Any,
        publisher: Publisher,
        stop: threading.Event,
        on_first_publish: Callable[[], None] = lambda: None,
    ) -> None:
        should_stop = stop.is_set
        spec = config.spec
        self._config = config
        self._config_text = config.model_dump_json(by_alias=True)
        self._client = client
        self._publisher = publisher
        self._stop = stop
        self._on_first_publish: Callable[[], None] | None = on_first_publish
        self._lookup = OffsetLookup(config)
        self._partitions = sorted(config.assignment.offsets)
        self._planned = dict(config.assignment.offsets)
        self._boundary = config.assignment.boundary
        self._frontier = self._boundary
        self._open = windows.merge([], spec)
        self._waves: deque[_Wave] = deque()
        self._next_look = 0.0
        times = spec.source.event_time
        # Of a partition without a record from its start on it is known that its records are older than this.
        oldest = self._boundary - spec.window.size_ms - times.max_future_seconds * 1000 - config.disorder_ms
        self._clocks = PartitionClocks(
            newest=dict.fromkeys(self._partitions, oldest),
            disorder_ms=config.disorder_ms,
            idle_ms=times.idle_partition_seconds * 1000,
            by_wall_clock=config.timestamp_type is TimestampType.CREATE_TIME,
        )
        self._outbox = Outbox(config, should_stop)
        self._requests = RequestWriter(config, should_stop)
        self._dead_letters = DeadLetterWriter(config, self._outbox)
        self._progress = ProgressWriter(config, EngineName.DASK, self._outbox)
        self._committer = consumer(config, config.group(EngineName.DASK))
        self._settled: dict[int, int] = {}
        self._run = uuid.uuid4().hex[:8]
        self._tasks = 0

    def run(self) -> None:
        """Returns once stopped; open windows are left to the next engine.

        Raises Fenced, RangeGone, confluent_kafka.KafkaException and what a lost scheduler raises.
        """
        try:
            self._settled = until_available(self._look_up_settled, KafkaException, self._stop.is_set)
            while not self._stop.is_set():
                self._read_ahead()
                if self._waves:
                    self._take_in(self._waves.popleft())
                else:
                    self._stop.wait(max(0.0, self._next_look - time.monotonic()))
        except Stopped:
            pass

    def close(self) -> None:
        """Give up what is in flight."""
        for wave in self._waves:
            for future in wave.futures:
                future.cancel()
        self._committer.close()

    def _look_up_settled(self) -> dict[int, int]:
        """See `tasks.read_and_aggregate`: when the boundary was closed, reading had come to that record."""
        times = self._config.spec.source.event_time
        closed_at = self._boundary + times.allowed_delay_seconds * 1000 + self._config.disorder_ms
        ends = self._lookup.stable_ends(self._partitions)
        found = self._lookup.first_at(closed_at, self._partitions)
        return {
            partition: ends[partition] if where is None else where.offset
            for partition, where in found.items()
        }

    def _look(self) -> _Look:
        stable = self._lookup.stable_ends(self._partitions)
        at = time.monotonic()
        return _Look(stable, self._lookup.high_watermarks(self._partitions), at)

    def _read_ahead(self) -> None:
        """Submit waves while there is room for one and reason to."""
        while len(self._waves) < WAVES_IN_FLIGHT:
            behind = bool(self._waves) and self._waves[-1].behind
            if not behind and time.monotonic() < self._next_look:
                return
            self._submit()

    def _submit(self) -> None:
        look = until_available(self._look, KafkaException, self._stop.is_set)
        dask = self._config.spec.fallback.dask
        workers = len(self._client.nthreads())
        shares = plan(self._planned, look.stable, workers=workers, batch_records=dask.batch_records)
        self._planned = positions_after(self._planned, shares)
        behind = any(look.stable[partition] > end for partition, end in self._planned.items())
        futures = [self._task(share) for share in shares]
        self._waves.append(_Wave(look, shares, futures, dict(self._planned), behind))
        self._next_look = look.at + dask.batch_seconds
        if not workers:
            log.warning("dask.no_workers")

    def _task(self, share: Share) -> Any:
        self._tasks += 1
        # Not tied to a worker, not even loosely: when all die at once, the scheduler never gives what was
        # tied to one of them to those that come after.
        return self._client.submit(
            tasks.read_and_aggregate,
            self._config_text,
            share.ranges,
            self._settled,
            key=f"read-{self._run}-{self._tasks}",
        )

    def _result(self, wave: _Wave, index: int) -> tasks.Result:
        while not self._stop.is_set():
            future = wave.futures[index]
            if future.status == "cancelled":
                # The scheduler was out of reach for a while, and forgot the task: it is pure, so once more.
                log.warning("dask.task_forgotten")
                wave.futures[index] = self._task(wave.shares[index])
            elif not future.done():
                # Not with a short time-out of `result`: it would cut off a transfer that is under way.
                self._stop.wait(RESULT_POLL_SECONDS)
            else:
                try:
                    result: tasks.Result = future.result(timeout=TRANSFER_SECONDS)
                    return result
                except (TimeoutError, UnboundLocalError):  # the latter: the library's for a cut-off transfer
                    if future.status == "error":
                        raise  # the task's own
                    log.warning("dask.transfer_cut_off", status=future.status)
        raise Stopped("asked to stop while a result was waited for")

    def _take_in(self, wave: _Wave) -> None:
        began = time.monotonic()
        results = [self._result(wave, index) for index in range(len(wave.futures))]
        waited = time.monotonic() - began
        for future in wave.futures:
            future.release()  # or a worker that dies later has it computed again
        spec = self._config.spec
        partial = windows.merge([_frame(result.windows) for result in results], spec)
        closed = partial.filter(
            (pl.col("window_end") > self._boundary) & (pl.col("window_end") <= self._frontier)
        )
        self._send_first(results, closed)
        for result in results:
            self._clocks.advance(result.newest)
        self._clocks.looked(wave.positions, wave.look.all, wave.look.at)
        self._open = windows.merge([self._open, partial.filter(pl.col("window_end") > self._frontier)], spec)
        published = self._close_windows()
        self._commit(wave.positions)
        log.debug(
            "dask.wave",
            records=sum(result.records for result in results),
            dead=sum(len(result.dead) for result in results),
            late=sum(result.late for result in results),
            published=published,
            open=self._open.height,
            frontier=self._frontier,
            behind=wave.behind,
            seconds_waited=round(waited, 3),
            seconds=round(time.monotonic() - began, 3),
        )

    def _send_first(self, results: list[tasks.Result], closed: pl.DataFrame) -> None:
        """Requests and dead letters; `closed`: partial windows that came after their window was published."""
        requests = [request for result in results for request in result.requests]
        requests += [
            RepairRequest(reason=RepairReason.DROPPED, key=key, start=start, end=start + 1)
            for key, start in closed.select("key", "window_start").iter_rows()
        ]
        if dropped := sum(request.reason is RepairReason.DROPPED for request in requests):
            log.warning("dask.dropped", requests=dropped)
        for result in results:
            self._dead_letters.write(result.dead)
        self._requests.write(requests)
        self._outbox.flush()

    def _close_windows(self) -> int:
        """Publish what can be closed, then say so. Returns the number of windows published."""
        times = self._config.spec.source.event_time
        boundary = closable(
            self._clocks.clock(),
            allowed_delay_ms=times.allowed_delay_seconds * 1000,
            slide_ms=self._config.spec.window.slide_ms,
        )
        if boundary <= self._frontier:
            return 0
        done = pl.col("window_end") <= boundary
        finished = self._open.filter(done)
        self._publisher.publish(windows.to_arrow(finished, self._config.spec))
        self._progress.write(boundary, finished.height)
        self._open = self._open.filter(~done)
        self._frontier = boundary
        if finished.height and self._on_first_publish is not None:
            self._on_first_publish()
            self._on_first_publish = None
        return finished.height

    def _commit(self, positions: dict[int, int]) -> None:
        topic = self._config.spec.source.kafka.topic
        offsets = [TopicPartition(topic, partition, at) for partition, at in positions.items()]
        until_available(
            lambda: self._committer.commit(offsets=offsets, asynchronous=False),
            KafkaException,
            self._stop.is_set,
        )


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame), "a table gives a frame"
    return frame
