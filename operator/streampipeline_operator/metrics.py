"""What Prometheus is told. Labels are namespace and name of the pipeline."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from streampipeline.decide import Observed, Phase, State
from streampipeline.decide.events import Event
from streampipeline.jobconfig import EngineName
from streampipeline.probes.pipeline import PipelineLook

_PIPELINE = ["namespace", "name"]
LEADER = Gauge("streampipeline_leader", "1 on the replica that holds the Lease.")
PHASE = Gauge("streampipeline_phase", "1 for the phase that the pipeline is in.", [*_PIPELINE, "phase"])
ACTIVE = Gauge(
    "streampipeline_active_engine", "1 for the engine that results come from.", [*_PIPELINE, "engine"]
)
EPOCH = Gauge("streampipeline_epoch", "Number of the last assignment.", _PIPELINE)
LATENCY = Gauge(
    "streampipeline_latency_seconds", "Age of the oldest closable, unpublished window.", _PIPELINE
)
LAG = Gauge("streampipeline_consumer_lag_records", "Records not read yet.", [*_PIPELINE, "engine"])
WORKERS = Gauge("streampipeline_dask_workers", "Dask workers that run.", _PIPELINE)
REPAIRS = Gauge("streampipeline_repairs_pending", "Repair requests that are not done.", _PIPELINE)
DEAD_LETTERS = Gauge("streampipeline_dead_letters", "Entries of the dead-letter topic.", _PIPELINE)
CONDITION = Gauge("streampipeline_condition", "1 True, 0 False, -1 Unknown.", [*_PIPELINE, "type"])
EVENTS = Counter("streampipeline_transitions", "Transitions and other events.", [*_PIPELINE, "reason"])
RECONCILES = Histogram("streampipeline_reconcile_seconds", "One turn of the loop.", _PIPELINE)
ERRORS = Counter("streampipeline_reconcile_errors", "Turns of the loop that failed.", _PIPELINE)

_VALUES = {"True": 1, "False": 0, "Unknown": -1}


def show(namespace: str, name: str, state: State, observed: Observed, look: PipelineLook) -> None:
    """One pipeline as it is now."""
    for phase in Phase:
        PHASE.labels(namespace, name, phase.value).set(phase is state.phase)
    for engine in (EngineName.FLINK, EngineName.DASK):
        ACTIVE.labels(namespace, name, engine.value).set(engine is state.active)
        if engine in look.lag:
            LAG.labels(namespace, name, engine.value).set(look.lag[engine])
    EPOCH.labels(namespace, name).set(state.epoch)
    if observed.latency_ms is not None:
        LATENCY.labels(namespace, name).set(observed.latency_ms / 1000)
    WORKERS.labels(namespace, name).set(observed.dask_workers)
    REPAIRS.labels(namespace, name).set(look.repairs_pending)
    DEAD_LETTERS.labels(namespace, name).set(look.dead_letters)
    for condition in state.conditions:
        CONDITION.labels(namespace, name, condition.type).set(_VALUES[condition.status.value])


def count(namespace: str, name: str, event: Event) -> None:
    """One event."""
    EVENTS.labels(namespace, name, event.reason).inc()


def forget(namespace: str, name: str) -> None:
    """The pipeline is gone."""
    gauges = (PHASE, ACTIVE, EPOCH, LATENCY, LAG, WORKERS, REPAIRS, DEAD_LETTERS, CONDITION)
    for metric in (*gauges, EVENTS, RECONCILES, ERRORS):
        metric.remove_by_labels({"namespace": namespace, "name": name})
