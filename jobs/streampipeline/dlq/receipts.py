"""Which letters were sent back already: receipts in the journal, written before and after each sending.

Two who replay at once: of two claims on one letter the one that stands first in the journal counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from streampipeline.api.spec import Model
from streampipeline.deadletters import REPLAY_OF
from streampipeline.dlq.letters import Place
from streampipeline.jobconfig import PipelineConfig
from streampipeline.journal import Journal
from streampipeline.scan import scan

log = structlog.get_logger(__name__)

PREFIX = "replay/"
ABANDONED_MS = 60_000
"""A claim so old is of a replay that ended in the middle: sending takes at most `replay.SEND_SECONDS`."""


class Stage(StrEnum):
    """How far one replay of a letter has come."""

    CLAIMED = "Claimed"
    SENT = "Sent"
    NOT_SENT = "NotSent"


class Receipt(Model):
    """One step of the replay `run` of one letter."""

    stage: Stage
    run: str
    at: int
    """Ms, UTC."""
    after: int
    """End of the letter's partition of the source topic before it was sent: a copy stands behind it."""


def key_of(place: Place) -> str:
    """Key of a letter's receipts in the journal."""
    return f"{PREFIX}{name_of(place)}"


def name_of(place: Place) -> str:
    """`PARTITION/OFFSET`."""
    return f"{place[0]}/{place[1]}"


@dataclass
class Receipts:
    """The receipts of a pipeline, as last read."""

    config: PipelineConfig
    journal: Journal
    run: str
    newest: dict[Place, Receipt] = field(default_factory=dict)

    def read(self) -> None:
        """Take in the journal as it is now. Raises what `scan` raises."""
        self.newest = {}
        for name, value in self.journal.read(PREFIX):
            partition, _, offset = name.partition("/")
            try:
                self.add((int(partition), int(offset)), Receipt.model_validate_json(value))
            except ValueError as error:  # anyone may write to a topic
                log.warning("replay.not_a_receipt", error=str(error))

    def add(self, place: Place, receipt: Receipt) -> None:
        """Take in one receipt, in the journal's order: a claim on what is claimed does not count."""
        known = self.newest.get(place)
        if known and known.stage is Stage.CLAIMED and receipt.stage is Stage.CLAIMED:
            return
        self.newest[place] = receipt

    def stage(self, place: Place) -> Stage | None:
        """None: it was never replayed, or a replay of it failed."""
        known = self.newest.get(place)
        return None if known is None or known.stage is Stage.NOT_SENT else known.stage

    def claim(self, places: Iterable[Place], ends: Mapping[int, int]) -> set[Place]:
        """Claim letters before they are sent; returns those that nobody else has claimed.

        `ends`: of the source topic's partitions, looked up before. Raises what `Journal.write` raises.
        """
        wanted = set(places)
        self._write(Stage.CLAIMED, {place: ends[place[0]] for place in wanted})
        self.read()
        return {place for place in wanted if self.newest[place].run == self.run}

    def settle(self, sent: Iterable[Place], not_sent: Iterable[Place]) -> None:
        """Write down what became of claims. Raises what `Journal.write` raises."""
        for stage, places in ((Stage.SENT, sent), (Stage.NOT_SENT, not_sent)):
            self._write(stage, {place: self.newest[place].after for place in places})

    def settle_abandoned(self) -> None:
        """Look in the source topic what became of claims whose replay ended in the middle.

        Raises what `scan` and `Journal.write` raise.
        """
        now = time.time_ns() // 1_000_000
        open_claims = {
            place: receipt
            for place, receipt in self.newest.items()
            if receipt.stage is Stage.CLAIMED and now - receipt.at > ABANDONED_MS
        }
        if not open_claims:
            return
        begin: dict[int, int] = {}
        for (partition, _), receipt in open_claims.items():
            begin[partition] = min(receipt.after, begin.get(partition, receipt.after))
        named = {name_of(place).encode(): place for place in open_claims}
        found: set[Place] = set()
        for _, offset, message in scan(self.config, self.config.spec.source.kafka.topic, begin):
            place = named.get(dict(message.headers() or []).get(REPLAY_OF) or b"")  # type: ignore[arg-type]
            if place is not None and offset >= open_claims[place].after:
                found.add(place)
        self.settle(found, open_claims.keys() - found)
        self.read()

    def _write(self, stage: Stage, after: Mapping[Place, int]) -> None:
        now = time.time_ns() // 1_000_000
        self.journal.write(
            {
                key_of(place): Receipt(stage=stage, run=self.run, at=now, after=offset)
                for place, offset in after.items()
            }
        )
