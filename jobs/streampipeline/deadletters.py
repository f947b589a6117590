"""Dead letters: the record as it came, and why it was refused. See "Internal topics" in docs/contracts.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streampipeline.jobconfig import PipelineConfig
from streampipeline.outbox import Outbox

Header = tuple[str, bytes | None]

REASON = "streampipeline.reason"
TOPIC = "streampipeline.topic"
PARTITION = "streampipeline.partition"
OFFSET = "streampipeline.offset"
REPLAY_OF = "streampipeline.replay-of"
"""`PARTITION/OFFSET` of the refused record that a record of the source topic repeats."""


@dataclass(frozen=True)
class DeadLetter:
    """A refused record of the source topic with its original key, value, headers and Kafka timestamp (ms)."""

    partition: int
    offset: int
    t: int
    reason: str
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()


def headers_of(letter: DeadLetter, topic: str) -> list[Header]:
    """The original headers in their order, then what says where the record stood and why it was refused."""
    return [
        *letter.headers,
        (REASON, letter.reason.encode()),
        (TOPIC, topic.encode()),
        (PARTITION, str(letter.partition).encode()),
        (OFFSET, str(letter.offset).encode()),
    ]


class DeadLetterWriter:
    """Appends dead letters through an outbox; they are on the broker once that is flushed."""

    def __init__(self, config: PipelineConfig, outbox: Outbox) -> None:
        self._source = config.spec.source.kafka.topic
        self._topic = config.spec.dead_letter.topic
        self._outbox = outbox

    def write(self, letters: Sequence[DeadLetter]) -> None:
        """Raises Stopped."""
        for letter in letters:
            self._outbox.send(
                self._topic,
                key=letter.key,
                value=letter.value,
                timestamp=max(0, letter.t),
                headers=list(headers_of(letter, self._source)),
            )
