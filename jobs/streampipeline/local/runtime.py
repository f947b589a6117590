"""Where the programs of a run are: where `hack/bootstrap.py` put them, or the environment says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
VARIABLE = "STREAMPIPELINE_RUNTIME"


class MissingProgramError(Exception):
    """A program that a run needs is not there; the message says how to get it."""


@dataclass(frozen=True)
class Runtime:
    """Paths of programs. `influxd` None: not there."""

    python: Path
    flink_home: Path
    flink_python: Path
    kafka_home: Path
    influxd: Path | None
    model_server: Path = ROOT / "model-server"
    python_path: str = os.pathsep.join([str(ROOT / "jobs"), str(ROOT / "audit")])

    @classmethod
    def find(cls) -> Runtime:
        """Look the programs up. Raises MissingProgramError."""
        base = Path(os.environ.get(VARIABLE, ROOT / "build" / "runtime"))
        _require_java()
        for part in ("flink", "flink-venv", "kafka"):
            if not (base / part).exists():
                raise MissingProgramError(
                    f"{base / part} is missing: run `python3 hack/bootstrap.py` "
                    "(or any of the make targets) first"
                )
        influxd = base / "influxd"
        found = shutil.which("influxd")
        return cls(
            python=Path(sys.executable),
            flink_home=(base / "flink").resolve(),
            flink_python=base / "flink-venv" / "bin" / "python",
            kafka_home=base / "kafka",
            influxd=influxd if influxd.exists() else Path(found) if found else None,
        )


def _require_java() -> None:
    """Kafka 4 and Flink 2 need Java 17 or newer."""
    how = "install it, on Debian: apt-get install openjdk-17-jre-headless"
    java = shutil.which("java")
    if java is None:
        raise MissingProgramError(f"java is missing: Kafka and Flink need Java 17 or newer; {how}")
    printed = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = printed.split('"')[1] if '"' in printed else ""
    if not version or int(version.split(".")[0]) < 17:
        raise MissingProgramError(
            f"java is version {version or 'unknown'}: Java 17 or newer is needed; {how}"
        )
