"""What a user asks for once: as text in an annotation, and its answer as a user sees it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console
from typer import BadParameter

from streampipeline.api import controls, oneoff
from streampipeline.api.oneoff import Backfill, Dlq, DlqVerb, NotOneOffError
from streampipeline.cluster.oneoff import picture
from streampipeline.cluster.oneoff_commands import _instant
from streampipeline.dlq.letters import parse

SPAN = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00+01:00"}


@pytest.mark.parametrize(
    ("annotation", "asked"),
    [
        (controls.DLQ, Dlq(id="a1", verb=DlqVerb.LIST, since=datetime(2026, 1, 1, tzinfo=UTC))),
        (controls.DLQ, Dlq(id="2", verb=DlqVerb.REPLAY, reasons=["TooLate"], partitions=[3], dry_run=True)),
        (controls.BACKFILL, Backfill.model_validate({"id": "3", **SPAN, "key": "nurse", "yes": True})),
    ],
)
def test_what_is_asked_survives_the_annotation(annotation: str, asked: oneoff.OneOff) -> None:
    assert oneoff.parse(annotation, oneoff.dump(asked)) == asked


@pytest.mark.parametrize(
    ("annotation", "value", "wrong"),
    [
        (controls.DLQ, "yes please", "Invalid JSON"),
        (controls.DLQ, '{"verb": "list"}', "id: Field required"),
        (controls.DLQ, '{"id": "1", "verb": "purge"}', "verb"),
        (controls.DLQ, '{"id": "A-1", "verb": "list"}', "id"),
        (controls.DLQ, '{"id": "1", "verb": "list", "limit": 0}', "limit"),
        (controls.DLQ, '{"id": "1", "verb": "list", "reasons": ["; rm"]}', "reasons.0"),
        (controls.DLQ, '{"id": "1", "verb": "list", "purge": true}', "purge"),
        (controls.BACKFILL, json.dumps({"id": "1", **SPAN, "to": "2026-01-01T00:00:00"}), "to: Input should"),
        (controls.BACKFILL, json.dumps({"id": "1", "from": SPAN["from"]}), "to: Field required"),
        (controls.BACKFILL, json.dumps({"id": "1", **SPAN, "key": "patient-7" * 200}), "key"),
    ],
)
def test_a_value_that_is_not_right_is_refused_whole_and_not_quoted(
    annotation: str, value: str, wrong: str
) -> None:
    with pytest.raises(NotOneOffError) as refused:
        oneoff.parse(annotation, value)
    assert str(refused.value).startswith(f"{annotation}: ")
    assert wrong in str(refused.value)
    assert "patient" not in str(refused.value)


def test_instants_are_ms() -> None:
    asked = Backfill.model_validate({"id": "1", **SPAN})
    assert (oneoff.ms(asked.start), oneoff.ms(asked.end)) == (1_767_225_600_000, 1_767_225_600_000)
    assert oneoff.ms(datetime(2026, 1, 1, 0, 0, 0, 1_999, tzinfo=UTC)) == 1_767_225_600_001


def test_times_are_given_as_such_or_as_how_long_ago() -> None:
    assert _instant("2026-01-31T12:00:00+01:00") == datetime(2026, 1, 31, 11, tzinfo=UTC)
    for text, ago in {"90s": 90, "30m": 1800, "2h": 7200, "7d": 604_800}.items():
        assert abs(datetime.now(UTC) - timedelta(seconds=ago) - _instant(text)) < timedelta(seconds=5)
    for text in ("", "now", "2026-01-31", "-2h", "2w"):
        with pytest.raises(BadParameter):
            _instant(text)


def shown(data: dict[str, Any]) -> str:
    console = Console(width=160, color_system=None)
    with console.capture() as capture:
        console.print(picture("nurse", data), markup=False)
    return capture.get()


LETTER = {
    "reason": "TooLate",
    "partition": 3,
    "offset": 1234,
    "timestamp": 1_767_225_600_000,
    "keyBytes": 9,
    "valueBytes": None,
    "headers": 1,
    "replayOf": "3/7",
    "replayed": True,
}


def test_letters_are_a_table() -> None:
    text = shown({"said": "1 of 5 dead letters", "reasons": {"TooLate": 5}, "letters": [LETTER]})
    assert text.splitlines()[:2] == ["nurse: 1 of 5 dead letters", "of them TooLate 5"]
    row = text.splitlines()[3].split()
    assert row == ["TooLate", "3", "1234", "2026-01-01T00:00:00Z", "9", "B", "null", "1", "3/7", "yes"]


def test_contents_cannot_command_a_terminal() -> None:
    def encoded(value: bytes) -> str:
        return base64.b64encode(value).decode()

    contents = {
        "key": encoded(b"patient-7"),
        "value": encoded(b"\x1b[2J[red]"),
        "headerValues": [["ward", encoded(b"4")], ["none", None]],
    }
    text = shown({"said": "", "reasons": {"TooLate": 1}, "letters": [LETTER | contents]})
    assert "3/1234 key 'patient-7', headers ward='4', none=null" in text
    assert "3/1234 value 1b5b324a5b7265645d" in text
    assert "\x1b" not in text


def test_no_letters_are_a_sentence() -> None:
    assert (
        shown({"said": "0 of 0 dead letters", "reasons": {}, "letters": []}) == "nurse: 0 of 0 dead letters\n"
    )


class Received:
    """A message as the client gives it; it cannot be made by hand."""

    def __init__(self, headers: list[tuple[str, bytes | None]]) -> None:
        self._headers = headers

    def headers(self) -> list[tuple[str, bytes | None]]:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_767_225_600_000

    def key(self) -> bytes | None:
        return None

    value = key


OURS = [
    ("streampipeline.partition", b"3"),
    ("streampipeline.offset", b"12"),
    ("streampipeline.topic", b"vitals"),
    ("streampipeline.reason", b"TooLate"),
]


def test_a_records_own_headers_are_told_from_ours() -> None:
    own: list[tuple[str, bytes | None]] = [("b", b"1"), ("streampipeline.reason", b"mine"), ("b", None)]
    letter = parse(Received([*own, *OURS]), "vitals")  # type: ignore[arg-type]
    assert letter is not None
    assert (letter.partition, letter.offset, letter.reason) == (3, 12, "TooLate")
    assert letter.headers == tuple(own)


@pytest.mark.parametrize(
    "headers",
    [[], OURS[1:], [*OURS, ("streampipeline.topic", b"other")], [*OURS, ("streampipeline.offset", b"x")]],
)
def test_what_is_no_letter_of_the_topic_is_none(headers: list[tuple[str, bytes | None]]) -> None:
    assert parse(Received(headers), "vitals") is None  # type: ignore[arg-type]
