"""What a user has a pipeline do once, in a pod of its own: the typed values of two annotations.

The API server is not asked to check annotations: a value is what it says, or it is refused as a whole.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field, ValidationError

from streampipeline.api import controls
from streampipeline.api.spec import Model

Id = Annotated[str, Field(pattern="^[a-z0-9]{1,20}$")]
"""Not used before. The pod has it as a label."""
MOST_LETTERS = 100_000


def ms(instant: AwareDatetime) -> int:
    """Ms since 1970 UTC, rounded down."""
    return int(instant.timestamp() * 1000 // 1)


class DlqVerb(StrEnum):
    """What is to be done with dead letters."""

    LIST = "list"
    REPLAY = "replay"


class Dlq(Model):
    """List dead letters, or send them back."""

    id: Id
    verb: DlqVerb
    reasons: list[Annotated[str, Field(pattern="^[A-Za-z]{1,40}$")]] = Field(default=[], max_length=20)
    partitions: list[Annotated[int, Field(ge=0)]] = Field(default=[], max_length=1000)
    since: AwareDatetime | None = None
    limit: int = Field(default=100, ge=1, le=MOST_LETTERS)
    show_contents: bool = False
    """Of `list`: what the records hold, which may be patients' data."""
    again: bool = False
    """Of `replay`: letters that were replayed before too."""
    dry_run: bool = False
    """Of `replay`."""


class Backfill(Model):
    """Recompute the windows that hold an instant of [start, end)."""

    id: Id
    start: AwareDatetime = Field(validation_alias="from", serialization_alias="from")
    end: AwareDatetime = Field(validation_alias="to", serialization_alias="to")
    key: str | None = Field(default=None, min_length=1, max_length=1000)
    yes: bool = False
    """Whatever it costs."""


OneOff = Dlq | Backfill
KINDS: dict[str, type[OneOff]] = {controls.DLQ: Dlq, controls.BACKFILL: Backfill}
"""By annotation."""


class NotOneOffError(ValueError):
    """An annotation's value that is not what it must be; the message names the first thing wrong."""


def parse(annotation: str, text: str) -> OneOff:
    """The value of an annotation. Raises NotOneOffError."""
    try:
        return KINDS[annotation].model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotOneOffError(f"{annotation}: {where}{': ' if where else ''}{first['msg']}") from None


def dump(asked: OneOff) -> str:
    """The text that `parse` reads."""
    return asked.model_dump_json(by_alias=True, exclude_defaults=True)
