"""Letters of the dead-letter topic, each refused record once."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Message

from streampipeline.deadletters import OFFSET, PARTITION, REASON, REPLAY_OF, TOPIC, DeadLetter, Header
from streampipeline.jobconfig import PipelineConfig
from streampipeline.scan import scan

OURS = (REASON, TOPIC, PARTITION, OFFSET)
"""The headers that an engine adds."""

Place = tuple[int, int]
"""Partition and offset of a record in the source topic."""


@dataclass(frozen=True)
class Selection:
    """Which letters are meant."""

    reasons: frozenset[str] = frozenset()
    """Empty: any."""
    partitions: frozenset[int] = frozenset()
    """Of the source topic. Empty: any."""
    since: int | None = None
    """Smallest Kafka timestamp of the refused record, ms."""

    def takes(self, letter: DeadLetter) -> bool:
        """Whether a letter is meant."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.partitions or letter.partition in self.partitions)
            and (self.since is None or letter.t >= self.since)
        )


def letters(config: PipelineConfig, selection: Selection) -> Iterator[DeadLetter]:
    """The letters of the pipeline's source topic that are selected, in the order of the dead-letter topic.

    A record that both engines refused is given once. What is no letter of this source is passed over.
    Raises what `scan` raises.
    """
    seen: set[Place] = set()
    for _, _, message in scan(config, config.spec.dead_letter.topic):
        letter = parse(message, config.spec.source.kafka.topic)
        if letter is None or not selection.takes(letter) or (letter.partition, letter.offset) in seen:
            continue
        seen.add((letter.partition, letter.offset))
        yield letter


def parse(message: Message, source: str) -> DeadLetter | None:
    """The letter in a message; None when it is of another topic than `source`, or no letter at all."""
    headers: list[Header] = list(message.headers() or [])  # type: ignore[arg-type]  # pairs, as received
    # The last of each name: a record that was a letter before has others before them.
    ours = {name: value for name, value in headers if name in OURS}
    if set(ours) != set(OURS) or ours[TOPIC] != source.encode():
        return None
    last = {name: index for index, (name, _) in enumerate(headers)}
    own = [
        header for index, header in enumerate(headers) if header[0] not in OURS or last[header[0]] != index
    ]
    try:
        partition, offset = int(ours[PARTITION] or b""), int(ours[OFFSET] or b"")
    except ValueError:
        return None
    return DeadLetter(
        partition=partition,
        offset=offset,
        t=message.timestamp()[1],
        reason=(ours[REASON] or b"").decode(errors="replace"),
        key=message.key(),
        value=message.value(),
        headers=tuple(own),
    )


def replay_of(letter: DeadLetter) -> str | None:
    """`PARTITION/OFFSET` of the letter that the refused record was a replay of, if it was one."""
    found = dict(letter.headers).get(REPLAY_OF)
    return None if found is None else found.decode(errors="replace")


def described(letter: DeadLetter, *, contents: bool) -> dict[str, Any]:
    """A letter as data. Without `contents` nothing of what the record holds, only sizes in bytes."""
    data: dict[str, Any] = {
        "reason": letter.reason,
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp": letter.t,
        "keyBytes": None if letter.key is None else len(letter.key),
        "valueBytes": None if letter.value is None else len(letter.value),
        "headers": len(letter.headers),
        "replayOf": replay_of(letter),
    }
    if contents:
        data["key"] = _base64(letter.key)
        data["value"] = _base64(letter.value)
        data["headerValues"] = [[name, _base64(value)] for name, value in letter.headers]
    return data


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()
