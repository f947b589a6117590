"""The table of mutants stays alive: each change fits the code, and each test that is to catch it is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from mutants.catalogue import MUTANTS
from mutants.mutant import MAVEN, Mutant, StaleMutantError

CHECKOUT = Path(__file__).resolve().parents[2]
JAVA_TESTS = CHECKOUT / "flink-decoder/src/test/java"
RULES = {*map(str, range(1, 13)), "Exactness", "Decisions"}


def test_names_are_told_apart_and_rules_are_of_the_design() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 20
    assert {mutant.rule for mutant in MUTANTS} <= RULES


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_production_code_as_it_is_and_leaves_it_readable(mutant: Mutant) -> None:
    assert not mutant.file.startswith(("tests/", "hack/", "bench/"))
    text = mutant.mutated(CHECKOUT)
    assert text != (CHECKOUT / mutant.file).read_text()
    if mutant.file.endswith(".py"):
        ast.parse(text)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_tests_that_are_to_catch_it_are_there(mutant: Mutant) -> None:
    assert mutant.tests
    for test in mutant.tests:
        if test.startswith(MAVEN):
            assert list(JAVA_TESTS.rglob(f"{test.removeprefix(MAVEN)}.java")), test
            continue
        path, _, function = test.partition("::")
        text = (CHECKOUT / path).read_text()
        assert re.search(rf"^def {function}\(" if function else r"^def test_", text, re.MULTILINE), test


def test_each_is_in_the_document() -> None:
    listed = re.findall(r"^\| `([\w-]+)` \|", (CHECKOUT / "docs/verification.md").read_text(), re.MULTILINE)
    assert {mutant.name for mutant in MUTANTS} - set(listed) == set()


@pytest.mark.parametrize("text", ["", "a = 1\n", "b = 1\nb = 1\n"])
def test_code_that_is_not_there_once_is_an_error(tmp_path: Path, text: str) -> None:
    if text:
        (tmp_path / "some.py").write_text(text)
    mutant = Mutant("m", "1", "nothing", "some.py", "b = 1\n", "b = 2\n", ("tests",))
    with pytest.raises(StaleMutantError, match=r"m: .* in some\.py"):
        mutant.apply(tmp_path)
