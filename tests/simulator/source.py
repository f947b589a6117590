"""What devices send: made up from the seed, appended to the topic as virtual time passes."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.simulator.broker import Broker, Outcome, Transaction
from tests.simulator.scheduler import Process, Scheduler

from streampipeline.api.spec import StreamPipelineSpec

TOPIC = "readings"
SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "Reading",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "x", "type": "double"},
            {"name": "datetime", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        ],
    }
)
KEYS = ("a", "b", "c d", "e=1,f")


@dataclass(frozen=True)
class Reading:
    """What a value says."""

    key: str
    x: float
    e: int
    """Event time, ms."""

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps({"id": self.key, "x": self.x, "datetime": self.e}).encode()


@dataclass(frozen=True)
class Times:
    """Bounds of the spec, ms."""

    delay: int
    lateness: int
    future: int

    @classmethod
    def of(cls, spec: StreamPipelineSpec) -> Times:
        """Those of a spec."""
        times = spec.source.event_time
        return cls(
            times.allowed_delay_seconds * 1000,
            times.max_lateness_seconds * 1000,
            times.max_future_seconds * 1000,
        )


@dataclass
class Source:
    """The devices. `readings` knows what each value says; a value that is not there is undecodable."""

    scheduler: Scheduler
    broker: Broker
    times: Times
    rate: float
    """Records a second, all partitions together."""
    quiet: frozenset[int] = frozenset()
    """Partitions that bring nothing for the time being."""
    transactional: bool = False
    sending: bool = True
    calm: bool = False
    """From now on every record is on time."""

    def __post_init__(self) -> None:
        self.readings: dict[bytes, Reading] = {}
        self.sent = 0
        self._process = Process("source")
        self._transaction: Transaction | None = None

    def start(self) -> None:
        """Begin to send."""
        self.scheduler.start(self._process, self._send, "send")

    def _send(self) -> None:
        random = self.scheduler.random
        while True:
            self.scheduler.sleep(random.expovariate(self.rate) + 0.001)
            if not self.sending:
                continue
            partitions = [p for p in range(len(self.broker.topics[TOPIC])) if p not in self.quiet]
            if not partitions:
                continue
            value = self._value()
            while not self.broker.up:
                self.scheduler.sleep(0.5)
            self._append(random.choice(partitions), value)

    def _append(self, partition: int, value: bytes | None) -> None:
        random = self.scheduler.random
        if self.transactional and not self.calm and self._transaction is None and random.random() < 0.1:
            self._transaction = self.broker.begin("source", 60)
            outcome = Outcome.COMMITTED if random.random() < 0.6 else Outcome.ABORTED
            self.scheduler.call(random.uniform(0.5, 8), lambda: self._end(outcome))
        inside = self._transaction is not None and random.random() < 0.7
        transaction = self._transaction if inside else None
        self.broker.append(TOPIC, partition, key=b"k", value=value, transaction=transaction)
        self.sent += 1

    def _end(self, outcome: Outcome) -> None:
        if self._transaction is not None:
            self.broker.end(self._transaction, outcome)
            self._transaction = None

    def _value(self) -> bytes | None:
        """On time for the most part; at and around each bound; in between what nobody can read."""
        random, times = self.scheduler.random, self.times
        if not self.calm and random.random() < 0.03:
            return random.choice([None, b"", b"{", b'{"id": "a"}'])
        bounds = (times.delay, times.lateness, -times.future)
        kind = random.random()
        if self.calm or kind < 0.85:
            age = random.randint(0, times.delay)
        elif kind < 0.93:
            age = random.choice(bounds) + random.choice((-1, 0, 1))
        else:
            age = random.randint(-times.future - 500, times.lateness + 500)
        reading = Reading(random.choice(KEYS), random.uniform(-50, 50), self.scheduler.now_ms - age)
        value = reading.encode()
        self.readings[value] = reading
        return value
