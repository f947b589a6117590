"""Settings of Flink's session cluster that hold on every ground."""

from __future__ import annotations


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
