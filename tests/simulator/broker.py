"""A Kafka broker in memory: partitions, transactions, committed offsets; it can be down, or slow."""

from __future__ import annotations

import zlib
from bisect import bisect_left
from dataclasses import dataclass, field
from enum import Enum

from confluent_kafka import KafkaError, KafkaException
from tests.simulator.scheduler import Scheduler

Headers = list[tuple[str, bytes | None]]
REQUEST_SECONDS = (0.0005, 0.004)
SLOW_REQUEST_SECONDS = (0.1, 1.2)
REFUSED_SECONDS = 0.3
"""How soon a client gives up on a broker that is down; real ones take longer where they may."""


class Outcome(Enum):
    """Of a transaction."""

    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"


@dataclass(eq=False)
class Transaction:
    """Records that appear together, or never. `prefix`: the next job of this prefix aborts what is open."""

    prefix: str
    outcome: Outcome = Outcome.OPEN
    partitions: list[Partition] = field(default_factory=list)


@dataclass
class Record:
    """One offset of a partition; a marker ends a transaction and is nobody's to read."""

    t: int
    """Kafka timestamp, ms."""
    key: bytes | None = None
    value: bytes | None = None
    headers: Headers = field(default_factory=list)
    transaction: Transaction | None = None
    marker: bool = False

    @property
    def readable(self) -> bool:
        """Below the last stable offset: whether a reader of committed records gets it."""
        aborted = self.transaction is not None and self.transaction.outcome is Outcome.ABORTED
        return not (self.marker or aborted)


@dataclass(eq=False)
class Partition:
    """A log. Offsets are places in `records`."""

    records: list[Record] = field(default_factory=list)
    log_start: int = 0
    open: dict[Transaction, int] = field(default_factory=dict)
    """Transactions with records here that are not decided, by their first offset."""

    @property
    def end(self) -> int:
        """One past the last offset."""
        return len(self.records)

    @property
    def stable_end(self) -> int:
        """One past what readers of committed records may reach."""
        return min(self.open.values(), default=self.end)

    def first_at(self, t: int) -> int | None:
        """The first offset with a Kafka timestamp of at least `t`; of a stable record, as Kafka has it."""
        start = self.log_start
        for offset in range(start, self.stable_end):
            if self.records[offset].t >= t:
                return offset
        return None

    def newest(self) -> int | None:
        """The first offset with the greatest Kafka timestamp."""
        offsets = range(self.log_start, self.end)
        return max(offsets, key=lambda offset: (self.records[offset].t, -offset), default=None)


class Broker:
    """What clients ask. Methods that are told as blocking may raise KafkaException: it does not answer."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.topics: dict[str, list[Partition]] = {}
        self.create_time: set[str] = set()
        """Topics whose producers set the timestamps."""
        self.committed: dict[tuple[str, str, int], int] = {}
        """By group, topic and partition."""
        self.up = True
        self.slow = False
        self._transactions: list[Transaction] = []

    def create(self, topic: str, partitions: int) -> bool:
        """Whether it was not there yet."""
        if topic in self.topics:
            return False
        self.topics[topic] = [Partition() for _ in range(partitions)]
        return True

    def request(self, timeout: float = REFUSED_SECONDS) -> None:
        """One request's way there and back; blocks."""
        self._scheduler.pause(*(SLOW_REQUEST_SECONDS if self.slow else REQUEST_SECONDS))
        if not self.up:
            self._scheduler.sleep(min(timeout, REFUSED_SECONDS))
        if not self.up:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT, "the broker is down", False, True))

    def partition_of(self, topic: str, key: bytes | None) -> int:
        """Where a producer puts a key."""
        return zlib.crc32(key or b"") % len(self.topics[topic])

    def append(
        self,
        topic: str,
        partition: int,
        *,
        key: bytes | None = None,
        value: bytes | None = None,
        headers: Headers | None = None,
        timestamp: int = 0,
        transaction: Transaction | None = None,
    ) -> int:
        """Append a record; returns its offset. `timestamp` (ms) counts on a topic of CreateTime only."""
        log = self.topics[topic][partition]
        t = timestamp if topic in self.create_time and timestamp else self._scheduler.now_ms
        log.records.append(Record(t, key, value, headers or [], transaction))
        if transaction is not None and log not in transaction.partitions:
            transaction.partitions.append(log)
            log.open[transaction] = log.end - 1
        return log.end - 1

    def begin(self, prefix: str, timeout_seconds: float) -> Transaction:
        """A transaction, which the broker aborts after a time."""
        transaction = Transaction(prefix)
        self._transactions.append(transaction)
        self._scheduler.call(timeout_seconds, lambda: self._time_out(transaction))
        return transaction

    def _time_out(self, transaction: Transaction) -> None:
        if transaction.outcome is Outcome.OPEN:
            self._scheduler.note(f"broker: transaction of {transaction.prefix} timed out")
        self.end(transaction, Outcome.ABORTED)

    def end(self, transaction: Transaction, outcome: Outcome) -> bool:
        """Commit or abort; False: it was decided otherwise before."""
        if transaction.outcome is Outcome.OPEN:
            transaction.outcome = outcome
            for log in transaction.partitions:
                del log.open[transaction]
                log.records.append(Record(self._scheduler.now_ms, marker=True))
            self._transactions.remove(transaction)
        return transaction.outcome is outcome

    def abort_all(self, prefix: str) -> None:
        """What a new producer of this prefix does before it begins."""
        for transaction in [each for each in self._transactions if each.prefix == prefix]:
            self.end(transaction, Outcome.ABORTED)

    def readable(self, topic: str, partition: int, start: int, most: int) -> tuple[list[int], int]:
        """Offsets of at most `most` committed records from `start` on, and where reading goes on."""
        log = self.topics[topic][partition]
        found: list[int] = []
        for offset in range(start, log.stable_end):
            if len(found) == most:
                return found, offset
            if log.records[offset].readable:
                found.append(offset)
        return found, max(start, log.stable_end)

    def delete_before(self, topic: str, t: int) -> None:
        """Retention: records older than `t` (ms) are gone."""
        for log in self.topics[topic]:
            log.log_start = max(log.log_start, bisect_left(log.records, t, key=lambda record: record.t))
