"""Producing at least once: what was handed in is on the broker when `flush` returns."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka._types import HeadersType

from streampipeline.jobconfig import PipelineConfig
from streampipeline.kafka import producer
from streampipeline.retry import Stopped

WAIT_SECONDS = 0.25
"""How long one call into the client may block before a stop is looked at."""


class Outbox:
    """One idempotent producer. Waits for a broker that is away; not for use by several threads."""

    def __init__(self, config: PipelineConfig, should_stop: Callable[[], bool]) -> None:
        # Without a time limit: the broker's absence holds the engine back, it must not lose a record.
        self._producer: Producer = producer(config, {"message.timeout.ms": 0})
        self._should_stop = should_stop
        self._failed: KafkaError | None = None

    def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        partition: int = -1,
        timestamp: int = 0,
        headers: HeadersType | None = None,
    ) -> None:
        """Hand in one message; partition -1: by key. Raises Stopped while the client's queue stays full."""
        while True:
            try:
                self._producer.produce(
                    topic,
                    key=key,
                    value=value,
                    partition=partition,
                    timestamp=timestamp,
                    headers=headers or [],
                    on_delivery=self._on_delivery,
                )
                return
            except BufferError:
                self._producer.poll(WAIT_SECONDS)
                self._check_stop()

    def flush(self) -> None:
        """Return when all is acknowledged. Raises Stopped, confluent_kafka.KafkaException (one refused)."""
        while self._producer.flush(WAIT_SECONDS) > 0:
            self._check_stop()
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise KafkaException(failed)

    def _check_stop(self) -> None:
        if self._should_stop():
            raise Stopped("asked to stop while producing")

    def _on_delivery(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failed = error
