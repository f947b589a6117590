"""The demo's run: Flink killed and held down, Dask takes over, Flink comes back; nothing lost or doubled."""

from __future__ import annotations

import argparse
from itertools import pairwise

import demo
from testbed.bed import Bed


def test_a_killed_flink_is_taken_over_from_and_handed_back_to(bed: Bed) -> None:
    options = argparse.Namespace(seconds=150.0, hold=60.0, data=None, rate=None)
    result = demo.run(bed, options)
    phases = [change["phase"] for change in result["phases"]]
    assert [phase for phase in phases if phase != "Triggering"] == [
        "Startup",
        "Normal",
        "Fallback",
        "Resuming",
        "Normal",
    ]
    assert all(before != after for before, after in pairwise(phases))
    assert (result["lost"], result["doubled"], result["differing"]) == (0, 0, 0)
    assert result["produced"] == result["counted"] + result["dead_lettered"] + result["pending"]
    assert result["produced"] == result["producer"]["records"]
    assert result["by_source"]["flink"] > 0
    assert result["by_source"]["dask-fallback"] > 0
    assert result["seconds_to_first_fallback_result"] <= 60
    assert result["peak_memory_mib"]["operator"] <= 200
    assert {point["source"] for point in result["points"]} <= {"flink", "dask-fallback", "repair"}
    assert result["points"]
