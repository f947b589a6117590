"""The parts of decoding alone: hashes, scaling, times as text."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.corpus.times import BAD_TIMES, GOOD_TIMES

from streampipeline.record_hash import record_hash
from streampipeline.rfc3339 import parse_rfc3339
from streampipeline.scaling import scale


def test_hashes_are_those_of_the_contract() -> None:
    """The same numbers stand in `FunctionsTest.java`."""
    expected = {
        (0, 0): 0,
        (0, 1): 2974544881792,
        (1, 0): 7769684036568,
        (3, 42): 2450601457816,
        (7, 2**40): 5929670268254,
        (2**31 - 1, 2**63 - 1): 7611467072847,
    }
    partitions = np.array([p for p, _ in expected], np.int32)
    offsets = np.array([o for _, o in expected], np.int64)
    assert record_hash(partitions, offsets).tolist() == list(expected.values())


def test_hashes_have_43_bits() -> None:
    hashes = record_hash(np.repeat(np.arange(4, dtype=np.int32), 5000), np.tile(np.arange(5000), 4))
    assert hashes.min() >= 0
    assert 2**42 < hashes.max() < 2**43
    assert len(set(hashes.tolist())) == 20_000


@pytest.mark.parametrize("decimals", range(10))
def test_scaling_is_one_multiplication_and_one_addition_in_float64(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    x = rng.normal(size=500) * 10.0 ** rng.uniform(-12, 12 - decimals, 500)
    scaled, bad = scale(x, decimals)
    for value, got, refused in zip(x.tolist(), scaled.tolist(), bad.tolist(), strict=True):
        expected = math.floor(value * 10.0**decimals + 0.5)
        assert refused == (abs(expected) >= 2**43)
        assert refused or got == expected


def test_halves_go_up() -> None:
    """The same numbers stand in `ScalingTest.java`."""
    scaled, _ = scale(np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]), 0)
    assert scaled.tolist() == [-2, -1, 0, 1, 2, 3]


def test_what_has_no_scaled_value() -> None:
    scaled, bad = scale(np.array([math.nan, math.inf, -math.inf, 1e308, 2.0**43, 2.0**43 - 1]), 0)
    assert bad.tolist() == [True, True, True, True, True, False]
    assert scaled.tolist() == [0, 0, 0, 0, 0, 2**43 - 1]


@pytest.mark.parametrize(("text", "millis"), GOOD_TIMES.items())
def test_times(text: str, millis: int) -> None:
    assert parse_rfc3339(text) == millis


@pytest.mark.parametrize("text", BAD_TIMES)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_rfc3339(text)
