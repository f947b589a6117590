"""One schedule from its seed to its verdict: topic, faults, pipeline, and the audit at its end."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from tests.simulator.broker import Broker
from tests.simulator.control import Control
from tests.simulator.dask import DaskCluster
from tests.simulator.faults import Faults
from tests.simulator.flink import FlinkCluster
from tests.simulator.http import Network
from tests.simulator.influxdb import ADMIN_TOKEN, BUCKET, MEASUREMENT, ORG, InfluxDb
from tests.simulator.model import ModelServer, SamePredictor
from tests.simulator.pipeline import MODEL_URL, spec_of
from tests.simulator.place import SimulatedPlace
from tests.simulator.scheduler import Process, Scheduler, Stuck
from tests.simulator.source import SCHEMA, TOPIC, Source, Times
from tests.simulator.substitutes import substituted

from streampipeline.decide import Phase
from streampipeline.decide.observed import Writer
from streampipeline.engine_ground import EngineGround
from streampipeline.job_configs import reading
from streampipeline.jobconfig import (
    EngineName,
    InfluxDbEndpoint,
    JobConfig,
    PipelineConfig,
    SinkEndpoint,
)
from streampipeline.place import JobFiles
from streampipeline.sinks.influxdb_admin import InfluxDbAdmin
from streampipeline_audit import AuditRequest
from streampipeline_audit import run as audit_run
from streampipeline_audit.points import Point
from streampipeline_audit.report import AuditReport

SINK_URL = "http://influxdb"
SINK_TIMEOUT_SECONDS = 3
MOST_SECONDS = 2_400.0
"""By then a schedule, healed long ago, must have come to rest."""
QUIET_SECONDS = 10.0
"""How long it must be at rest."""


@dataclass(frozen=True)
class Verdict:
    """Of one schedule."""

    seed: int
    problems: tuple[str, ...]
    trace: tuple[str, ...]
    report: AuditReport | None
    switches: int
    virtual_seconds: float

    @property
    def fine(self) -> bool:
        """Nothing lost, doubled or differing, and back in Normal."""
        return not self.problems


class World:
    """All of it, made from one seed."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.scheduler = scheduler = Scheduler(seed)
        random = scheduler.random
        spec = spec_of(random)
        self.broker = Broker(scheduler)
        self.broker.create(TOPIC, random.randint(1, 3))
        self.influxdb = InfluxDb(scheduler, SINK_TIMEOUT_SECONDS, landed=self._landed)
        self.model = ModelServer(scheduler)
        self.network = Network(scheduler, {SINK_URL: self.influxdb, MODEL_URL: self.model})
        self.config = PipelineConfig(
            pipeline="p",
            uid="u",
            spec=spec,
            avro_schema=SCHEMA,
            bootstrap_servers=["broker:9092"],
            model_url=MODEL_URL,
        )
        self.source = Source(
            scheduler,
            self.broker,
            Times.of(spec),
            rate=random.choice((2.0, 4.0)),
            transactional=random.random() < 0.2,
        )
        files = JobFiles(here=folder / "jobs", engines=folder / "jobs")
        files.here.mkdir()
        self._admin_token = folder / "admin"
        self._admin_token.write_text(ADMIN_TOKEN)
        self._endpoint = InfluxDbEndpoint(
            url=SINK_URL,
            org=ORG,
            bucket=BUCKET,
            measurement=MEASUREMENT,
            token_file=str(self._admin_token),
            timeout_seconds=SINK_TIMEOUT_SECONDS,
        )
        self.flink = FlinkCluster(scheduler, self.source, files)
        self.dask = DaskCluster(scheduler, files)
        self.place = SimulatedPlace(scheduler, files, self.flink, self.dask, waits=random.random() < 0.5)
        self.control = Control(scheduler, self.config, self._ground, lambda: self.place.answers)
        self.faults = Faults(self)
        self.problems: list[str] = []
        self._rest_began: float | None = None
        self._report: AuditReport | None = None

    def _ground(self) -> EngineGround:
        admin = InfluxDbAdmin(self._endpoint, "p-u", self._admin_token, onboard=False)
        return EngineGround(self.config, self.place, SinkEndpoint(influxdb=self._endpoint), admin)

    def _landed(self, who: str, point: Point) -> None:
        fields = point.fields
        self.scheduler.note(
            f"sink: {who} wrote {point.key} {point.start} n={point.n} scored={fields.get('scored')}"
        )
        ground, (epoch, _, engine) = self.control.ground, who.rpartition("/")[2].partition("-")
        if ground is not None and Writer(engine=EngineName(engine), epoch=int(epoch)) in ground.fenced:
            self.problem(f"a write of {who} landed after it was said to be fenced")

    def problem(self, what: str) -> None:
        """Note what must not be."""
        self.scheduler.note(f"PROBLEM: {what}")
        self.problems.append(what)

    # To the end

    def run(self) -> Verdict:
        """Everything. The product's modules must be substituted."""
        self.source.start()
        self.control.start()
        self.faults.plan()
        try:
            self.scheduler.run(self._at_rest, MOST_SECONDS)
            self.scheduler.note("at rest: audit")
            self.scheduler.start(Process("audit"), self._audit, "audit")
            self.scheduler.run(lambda: self._report is not None or bool(self.problems), MOST_SECONDS)
        except Stuck as stuck:
            self.problem(f"not at rest: {stuck}: {self.control.state if self.control.stored else 'no state'}")
        for failure in self.scheduler.failures:
            self.problem(f"{failure.thread}: {type(failure.error).__name__}: {failure.error}")
        self.scheduler.end()
        return Verdict(
            self.seed,
            tuple(self.problems),
            tuple(self.scheduler.trace),
            self._report,
            self.control.events.count("FallbackActive"),
            self.scheduler.seconds,
        )

    def _at_rest(self) -> bool:
        """Healed, in Normal, all published and repaired; for a while."""
        if self.problems or self.scheduler.failures:
            return True
        if not self._settled():
            self._rest_began = None
            return False
        if self._rest_began is None:
            self._rest_began = self.scheduler.seconds
        return self.scheduler.seconds - self._rest_began >= QUIET_SECONDS

    def _settled(self) -> bool:
        observed = self.control.observed
        if observed is None or not self.faults.over or not self.control.running:
            return False
        state, repairs = self.control.state_now, observed.repairs
        return (
            state is not None
            and state.phase is Phase.NORMAL
            and state.wanted is None
            and not state.retiring
            and state.flink is not None
            and state.flink.ran
            and not repairs.pending
            and not repairs.running
            and (state.rewind.done or repairs.rewound >= state.rewind.number)
            and observed.latency_ms is not None
            and observed.latency_ms < 8_000
            and max((row.frontier for row in observed.progress), default=0) > self.faults.healed_ms
        )

    def _audit(self) -> None:
        state = self.control.state
        assert state.origin is not None
        sink = SinkEndpoint(influxdb=self._endpoint)
        config = JobConfig(**dict(self.config), assignment=reading(state), origin=state.origin, sink=sink)
        listed = SimulatedPoints(self.influxdb)
        with (
            patch.object(audit_run, "_points", lambda _: listed),
            patch.object(audit_run, "LightGbmPredictor", lambda *_: SamePredictor()),
        ):
            report = audit_run.audit(AuditRequest(config=config, model_file=Path("simulated")))
        self.scheduler.note(f"audit: {report.verdict()}")
        self._judge(report)
        self._report = report

    def _judge(self, report: AuditReport) -> None:
        if not report.clean:
            self.problem(f"{report.verdict()} {report.examples}")
        if not report.balanced:
            self.problem(f"records are not accounted for: {report.as_dict()}")
        if report.unscored:
            self.problem(f"{report.unscored} windows are without a score: {report.examples['unscored']}")
        if not report.windows_expected:
            self.problem("nothing was judged")


@dataclass(frozen=True)
class SimulatedPoints:
    """What the audit reads of the sink."""

    influxdb: InfluxDb

    def points(self, begin: int, end: int) -> list[Point]:
        """See `points.PointSource`."""
        return self.influxdb.listed(begin, end)


def run(seed: int) -> Verdict:
    """One schedule."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        world = World(seed, Path(folder))
        with substituted(world.scheduler, world.broker, world.network):
            return world.run()
