"""Settings of Flink's session cluster that hold on every ground."""

from __future__ import annotations

ENVIRONMENT = {
    # Both start jobs and do little else. What the optimizing compiler would take while they start is missed
    # by the TaskManager, which starts at the same time.
    "FLINK_ENV_JAVA_OPTS_JM": "-XX:TieredStopAtLevel=1",
    "FLINK_ENV_JAVA_OPTS_SQL_GATEWAY": "-XX:TieredStopAtLevel=1",
}
"""Of Flink's start scripts."""


def settings(*, slots: int, python: str) -> dict[str, str]:
    """`slots`: of one TaskManager; `python`: the interpreter of the environment with PyFlink."""
    return {
        "jobmanager.memory.process.size": "768m",
        "taskmanager.memory.process.size": "1536m",
        "taskmanager.numberOfTaskSlots": str(slots),
        # A lost TaskManager is noticed within ten seconds; Flink's own default is fifty.
        "heartbeat.interval": "1 s",
        "heartbeat.timeout": "10 s",
        "python.executable": python,
        "python.client.executable": python,
        "web.submit.enable": "false",
        "jobmanager.execution.failover-strategy": "region",
    }
