"""`--fault KIND@START[+HOLD]`."""

from __future__ import annotations

import pytest

from streampipeline.local.faults import DEFAULT_HOLD_SECONDS, Fault, FaultKind, parse_fault


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kill-flink@30s+60s", Fault(FaultKind.KILL_FLINK, 30, 60)),
        ("kill-dask@30+60", Fault(FaultKind.KILL_DASK, 30, 60)),
        ("stop-model@0s", Fault(FaultKind.STOP_MODEL, 0, DEFAULT_HOLD_SECONDS)),
        ("slow-model@1.5s+0.25s", Fault(FaultKind.SLOW_MODEL, 1.5, 0.25)),
    ],
)
def test_faults_are_read(text: str, expected: Fault) -> None:
    assert parse_fault(text) == expected


@pytest.mark.parametrize("kind", list(FaultKind))
def test_a_fault_as_text_is_read_as_the_same_fault(kind: FaultKind) -> None:
    fault = Fault(kind, 12.5, 90)

    assert parse_fault(str(fault)) == fault


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kill-flink",
        "kill-flink@",
        "kill-flink@-3s",
        "kill-flink@3m",
        "kill-flink@30s+",
        "kill-flink@30s+60m",
        "kill-flink@30s+60s ",
        "kill-everything@30s",
        "KILL-FLINK@30s",
        "@30s",
    ],
)
def test_a_wrong_fault_is_refused_with_form_and_kinds(text: str) -> None:
    with pytest.raises(ValueError, match="KIND@START") as refused:
        parse_fault(text)

    message = str(refused.value)
    assert repr(text) in message
    assert all(kind.value in message for kind in FaultKind)


def test_a_fault_is_in_force_from_its_start_until_its_hold_is_over() -> None:
    fault = Fault(FaultKind.STOP_KAFKA, 30, 60)

    assert [fault.active(at) for at in (0, 29.9, 30, 89.9, 90, 1000)] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
