"""The shipped decisions in every small world: no rule of the design is broken, and rest is reached from each.

How far it goes is bounded by what a run of all tests may cost; `python -m tests.model.search` goes farther.
"""

from __future__ import annotations

import pytest
from tests.model.guards import GUARDS, Guard
from tests.model.search import Bounds, Search

SEARCHES = {
    "a start, one fault": Bounds(epochs=0, faults=1),
    "a hand-over that the user asks for": Bounds(epochs=1, faults=0, edits=1, at_rest=True),
    "a hand-over, two faults": Bounds(epochs=1, faults=2, at_rest=True),
    "a hand-over, one fault, one stale look": Bounds(epochs=1, faults=1, stales=1, at_rest=True),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_no_rule_is_broken_and_the_pipeline_comes_to_rest_from_everywhere(name: str) -> None:
    found = Search(SEARCHES[name]).run()
    print(f"{name}: {found}")
    assert found.wrong is None, str(found)
    assert found.complete


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_without_the_guard_something_goes_wrong(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    guard.take_out(monkeypatch)
    found = Search(guard.bounds).run()
    print(f"without the guard {guard.name!r}: {found}")
    assert found.wrong is not None, str(found)
