"""This machine's clock against the brokers', from records as they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streampipeline.broker_clock import TOLERANCE_MS, BrokerClock


def look(clock: BrokerClock, newest: int | None, at: int) -> None:
    """A look of a tenth of a second that ends at `at`."""
    clock.look(newest, began=at - 100, ended=at)


def test_a_clock_two_minutes_ahead_is_seen_with_the_second_look() -> None:
    clock = BrokerClock()
    look(clock, 1_000_000, 1_120_500)
    assert clock.now(1_120_500) == 1_120_500, "one look alone says nothing: the record may be old"
    look(clock, 1_001_000, 1_121_500)
    assert 119_000 <= clock.ahead_ms <= 121_000


def test_a_clock_two_minutes_behind_is_seen() -> None:
    clock = BrokerClock()
    look(clock, 1_000_000, 880_500)
    look(clock, 1_001_000, 881_500)
    assert -120_000 <= clock.ahead_ms <= -119_000


def test_a_silent_source_changes_nothing() -> None:
    clock = BrokerClock()
    look(clock, 1_000_000, 1_000_500)
    for second in range(1, 600):
        look(clock, 1_000_000, 1_000_500 + second * 1000)
    assert clock.ahead_ms == 0
    look(clock, 1_600_000, 1_600_500)
    assert clock.ahead_ms == 0, "what comes after a silence is new, not late"


def test_an_empty_topic_says_nothing() -> None:
    clock = BrokerClock()
    look(clock, None, 1_000_000)
    look(clock, 700_000, 1_001_000)
    assert clock.ahead_ms == 0


def test_a_clock_that_is_put_right_is_right_after_two_looks() -> None:
    clock = BrokerClock()
    for second in range(3):
        look(clock, 1_000_000 + second * 1000, 1_120_500 + second * 1000)
    look(clock, 1_003_000, 1_003_500)
    look(clock, 1_004_000, 1_004_500)
    assert clock.ahead_ms == 0


@given(
    st.integers(-300_000, 300_000),
    st.lists(st.tuples(st.integers(1, 5_000), st.integers(0, 3_000), st.booleans()), min_size=2, max_size=30),
)
def test_the_correction_never_makes_it_worse(ahead: int, looks: list[tuple[int, int, bool]]) -> None:
    """Looks at any pace, of any length, with or without new records: what is left is at most a look."""
    clock, brokers, newest = BrokerClock(), 10_000_000, 10_000_000
    longest = 0
    for pause, length, new in looks:
        began = brokers + pause
        newest = began if new else newest
        clock.look(newest, began=began + ahead, ended=began + length + ahead)
        brokers, longest = began + length, max(longest, pause + length)
        left = abs(clock.now(brokers + ahead) - brokers)
        assert left <= max(abs(ahead), TOLERANCE_MS)
        if clock.ahead_ms:
            assert left <= longest + TOLERANCE_MS
