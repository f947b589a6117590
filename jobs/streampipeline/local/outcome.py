"""The end of a run: the independent audit as a process of its own, and the report."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streampipeline.decide import Phase, State
from streampipeline.jobconfig import EngineName
from streampipeline.local.runtime import Runtime
from streampipeline.local.status import PhaseChange

WRONG = ("lost", "doubled", "differing")


class AuditFailed(Exception):
    """The audit could not be made; the message ends with what it said."""


@dataclass(frozen=True)
class Outcome:
    """What a run ended with. `audit` None: none was made."""

    phase: Phase
    interrupted: bool
    """The user stopped it: whatever phase it was in is fine."""
    audit: dict[str, Any] | None
    report: dict[str, Any]
    sent: bool = True
    """The producer, where there was one, said what it sent."""

    @property
    def clean(self) -> bool:
        """An audit was made and found nothing wrong."""
        return self.audit is not None and not any(self.audit[key] for key in WRONG)

    @property
    def exit_code(self) -> int:
        """0: the audit is clean and the run ended in Normal, or where the user stopped it."""
        if self.interrupted:
            return 0 if self.audit is None or self.clean else 1
        return 0 if self.clean and self.sent and self.phase is Phase.NORMAL else 1


def run_audit(runtime: Runtime, config_file: Path, model_file: Path | None, log_file: Path) -> dict[str, Any]:
    """The audit's report as data. Raises AuditFailed."""
    argv = [str(runtime.python), "-m", "streampipeline_audit", str(config_file), "-o", "json"]
    if model_file is not None:
        argv += ["--model-file", str(model_file)]
    environment = {**os.environ, "PYTHONPATH": runtime.python_path}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    log_file.write_text(done.stderr)
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise AuditFailed(f"the audit failed: {done.stderr.strip()[-2000:]}") from error
    return report


def report(
    *,
    pipeline: str,
    phases: Sequence[PhaseChange],
    state: State,
    faults: Mapping[str, int],
    written: Mapping[EngineName, int],
    producer: dict[str, Any] | None,
    peak_memory: Mapping[str, int],
    audit: dict[str, Any] | None,
) -> dict[str, Any]:
    """What `--report` writes: phases, seconds from the first fault, figures, and the audit's keys."""
    fault = min(faults.values(), default=None)
    fallback = [p.at for p in phases if p.phase == Phase.FALLBACK.value and p.at >= (fault or 0)]
    first = [
        h.first_result
        for h in state.hand_overs
        if h.target is EngineName.DASK and h.first_result is not None and h.first_result >= (fault or 0)
    ]

    def since_fault(times: list[int]) -> float | None:
        return None if fault is None or not times else round((min(times) - fault) / 1000, 1)

    return {
        "pipeline": pipeline,
        "phases": [change.model_dump() for change in phases],
        "faults": [{"fault": text, "at": at} for text, at in faults.items()],
        "seconds_to_fallback": since_fault(fallback),
        "seconds_to_first_fallback_result": since_fault(first),
        "windows": {engine.value: count for engine, count in written.items()},
        "hand_overs": [hand_over.model_dump(mode="json", by_alias=True) for hand_over in state.hand_overs],
        "peak_memory_mib": dict(peak_memory),
        "producer": producer,
        **(audit or {}),
    }
