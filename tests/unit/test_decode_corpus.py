"""The golden corpus through the Python decoder; `CorpusTest.java` reads the same file."""

from __future__ import annotations

import pytest
from tests.corpus.generate import generate, judged
from tests.corpus.model import FILE, Case, dump, load

CASES = load()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_record_gets_its_verdict_and_its_bits(case: Case) -> None:
    got = judged(case, [record.value for record in case.records])
    for record, found in zip(case.records, got, strict=True):
        found.name = record.name
    assert got == case.records


def test_the_committed_corpus_is_the_generated_one() -> None:
    assert FILE.read_text() == dump(generate())


def test_the_corpus_is_large_enough_and_small_enough() -> None:
    records = [record for case in CASES for record in case.records]
    reasons = {record.reason for record in records}
    assert len(records) >= 2500
    assert reasons >= {None, "Undecodable", "EmptyKey", "EventTimeOutOfRange", "NotANumber", "OutOfRange"}
    assert FILE.stat().st_size < 2**20
