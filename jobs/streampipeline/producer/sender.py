"""The Kafka producer: idempotent, patient with a broker that restarts, counting what is acknowledged."""

from __future__ import annotations

import json
import logging

from confluent_kafka import KafkaError, Message, Producer

from streampipeline.producer.settings import ProducerError, Report, Settings

log = logging.getLogger(__name__)

QUEUE_RECORDS = 400_000
"""Records that wait for the broker: more than ten minutes at 600 records/s."""
QUEUE_KIB = 131_072


class Sender:
    """Fills `report` with what the broker says."""

    def __init__(self, settings: Settings, report: Report) -> None:
        self._topic, self._report = settings.topic, report
        self._fatal: str | None = None
        self._producer = Producer(
            {
                **settings.properties,
                "bootstrap.servers": settings.bootstrap_servers,
                "enable.idempotence": True,
                "message.timeout.ms": round(settings.delivery_seconds * 1000),
                "linger.ms": 5 if settings.rate is not None else 50,
                "queue.buffering.max.messages": QUEUE_RECORDS,
                "queue.buffering.max.kbytes": QUEUE_KIB,
                "reconnect.backoff.max.ms": 2000,
                "statistics.interval.ms": 1000,
                "log_level": 0,
                "stats_cb": self._statistics,
                "error_cb": self._error,
                "on_delivery": self._delivered,
            }
        )

    def send(self, partition: int, key: bytes, value: bytes | None, timestamp: int) -> None:
        """Queue one record; waits while the queue is full. `timestamp` 0: now.

        Raises ProducerError when the broker has refused the producer for good.
        """
        while True:
            try:
                self._producer.produce(self._topic, value, key, partition, timestamp=timestamp)
                return
            except BufferError:
                self.serve(0.1)

    def serve(self, seconds: float = 0.0) -> None:
        """Let deliveries be counted, waiting at most this long for one. Raises as `send`."""
        self._producer.poll(seconds)
        if self._fatal is not None:
            raise ProducerError(self._fatal, 1)

    def close(self, seconds: float) -> None:
        """Wait for what is still on its way; what is not acknowledged by then counts as failed."""
        left = self._producer.flush(seconds)
        if left:
            self._producer.purge()
            self._producer.flush(5)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        report = self._report
        if error is not None:
            report.failures += 1
            return
        partition = message.partition() or 0
        report.records += 1
        report.bytes += len(message)
        report.partitions[partition] = report.partitions.get(partition, 0) + 1

    def _error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = f"Kafka refuses the producer: {error.str()}"
        else:
            log.warning("%s; records wait until it is back", error.str())

    def _statistics(self, text: str) -> None:
        brokers = json.loads(text)["brokers"].values()
        self._report.retries = max(self._report.retries, sum(int(broker["txretries"]) for broker in brokers))
