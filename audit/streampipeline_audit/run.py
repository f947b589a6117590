"""An audit from end to end: fixes what is to be compared, reads it, and reports."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from streampipeline.jobconfig import EngineName, JobConfig
from streampipeline_audit.core import Auditor
from streampipeline_audit.errors import AuditError
from streampipeline_audit.influx_points import InfluxPoints
from streampipeline_audit.parquet_points import ParquetPoints
from streampipeline_audit.plan import Generation, PendingLate, Plan
from streampipeline_audit.points import PointSource
from streampipeline_audit.prediction import LightGbmPredictor
from streampipeline_audit.repair_requests import OutstandingRequests
from streampipeline_audit.report import AuditReport
from streampipeline_audit.topics import Topics


@dataclass(frozen=True)
class AuditRequest:
    """What to audit. `config` is of any assignment of the pipeline's newest generation, with all of them."""

    config: JobConfig
    model_file: Path | None = None
    """LightGBM text file, to make the predictions again."""
    frontier: int | None = None
    """Milliseconds, UTC; None: the one in the progress topic."""
    until_offsets: dict[int, int] | None = None
    """End offset by partition; None, and partitions not named: the end at the start of the audit."""
    pending_late: PendingLate = PendingLate.OUTSTANDING
    token_file: Path | None = None
    """Of a token that may read InfluxDB; None: the endpoint's own."""
    disorder_seconds: int | None = None
    """How far Kafka timestamps run backwards in a partition; None: as in the configuration."""


def audit(request: AuditRequest) -> AuditReport:
    """Compare the sink with the topic. Raises AuditError when something cannot be read."""
    config = request.config
    source = config.spec.source.kafka.topic
    topics = Topics(config)
    # The order matters: what is written before a frontier is there when it is read after it.
    frontier = request.frontier if request.frontier is not None else _frontier(topics, config)
    requests = _outstanding(topics, config)
    ends = topics.ends(source)
    if not ends:
        raise AuditError(f"there is no topic {source}")
    begin = {partition: config.origin.offsets.get(partition, 0) for partition in ends}
    _refuse_cut(topics.starts(source), begin, source)
    until = {p: min(end, (request.until_offsets or {}).get(p, end)) for p, end in ends.items()}
    dead_letter_topic = config.spec.dead_letter.topic
    dead_letters = topics.dead_letters(dead_letter_topic, source, topics.ends(dead_letter_topic))
    disorder = request.disorder_seconds
    plan = Plan(
        generations=tuple(
            Generation(
                span.config.assignment.generation, span.after, span.config.spec, span.config.model_version
            )
            for span in config.spans
        ),
        avro_schema=config.avro_schema,
        boundary=config.origin.boundary,
        # Where a generation begins, the ones before it are in the sink.
        frontier=max(config.spans[-1].after, frontier or 0),
        partitions=frozenset(until),
        disorder=config.disorder_ms if disorder is None else disorder * 1000,
        going_on=frozenset(p for p in until if until[p] < ends[p]),
        pending_late=request.pending_late,
        requests=requests,
    )
    inputs = config.spec.model.inputs
    predictor = LightGbmPredictor(request.model_file, inputs) if request.model_file else None
    auditor = Auditor(plan, _points(request), dead_letters, predictor)
    started = time.monotonic()
    for batch in topics.records(source, begin, until):
        auditor.feed(batch)
    report = auditor.finish(lambda: topics.records(source, until, topics.ends(source)))
    report.records_per_second = round(auditor.records_read / max(time.monotonic() - started, 1e-9))
    report.frontier = None if frontier is None else report.frontier
    report.origin = {"boundary": config.origin.boundary, "offsets": begin}
    report.ended_at_offsets = until
    return report


def _frontier(topics: Topics, config: JobConfig) -> int | None:
    """The newest frontier of the newest generation; None when nothing was published yet."""
    ends = topics.ends(config.progress_topic)
    if not ends:
        raise AuditError(f"there is no topic {config.progress_topic}: is the uid {config.uid} right?")
    rows = topics.values(config.progress_topic, topics.starts(config.progress_topic), ends)
    steps = [json.loads(row) for row in rows if row]
    if not steps:
        return None
    newest = max(int(step["generation"]) for step in steps)
    ours = config.assignment.generation
    if newest > ours:
        raise AuditError(f"the pipeline is at generation {newest}, the configuration is of generation {ours}")
    return max((int(step["frontier"]) for step in steps if int(step["generation"]) == ours), default=None)


def _outstanding(topics: Topics, config: JobConfig) -> OutstandingRequests:
    topic = config.repairs_topic
    if not topics.ends(topic):
        return OutstandingRequests(())
    # Requests committed after this are made: that shows in the points, which are read later.
    committed = topics.committed(config.group(EngineName.REPAIR), topic, 0)
    ends = topics.ends(topic)
    begin = {partition: max(first, committed) for partition, first in topics.starts(topic).items()}
    return OutstandingRequests(topics.values(topic, begin, ends))


def _refuse_cut(first: dict[int, int], begin: dict[int, int], topic: str) -> None:
    for partition, offset in begin.items():
        gone = first[partition] - offset
        if gone > 0:
            raise AuditError(
                f"retention has deleted {gone} records of {topic}, partition {partition}, since the origin: "
                "what cannot be read cannot be audited"
            )


def _points(request: AuditRequest) -> PointSource:
    config = request.config
    key_field = config.spec.source.key_field
    if config.sink.parquet:
        return ParquetPoints(Path(config.sink.parquet.path), config.pipeline, key_field)
    if config.sink.influxdb:
        token_file = request.token_file or Path(config.sink.influxdb.token_file)
        return InfluxPoints(config.sink.influxdb, token_file, config.pipeline, key_field)
    raise AuditError("the configuration names no sink")
