"""The operator is killed in every phase of a pipeline; another pipeline, elsewhere, notices nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from streampipeline_operator import kube
from testbed import product
from testbed.bed import OPERATOR_NAMESPACE, Bed
from testbed.outcome import audited, settled, state_of

NAME = "nurse-stress"
ORDER = ["Triggering", "Fallback", "Resuming", "Normal"]
"""Of a hand-over."""


def kill_operator(bed: Bed) -> None:
    """Without a farewell."""
    selector = "app.kubernetes.io/component=operator"
    for pod in bed.api.list(kube.POD, OPERATOR_NAMESPACE, selector):
        bed.api.delete(kube.POD, OPERATOR_NAMESPACE, pod["metadata"]["name"], grace_seconds=0)


def reached(bed: Bed, namespace: str, epoch: int, phases: list[str]) -> bool:
    """In one of these phases, after a hand-over has begun: one may be over before one looks."""
    return state_of(bed, namespace, NAME).epoch > epoch and bed.phase(namespace, NAME) in phases


def kill_in_startup(bed: Bed, namespace: str, epochs: list[int]) -> None:
    """As soon as an engine was asked for; its epoch is noted. What it is to do is stored, and maybe done."""

    def begun() -> bool:
        return bool((bed.pipeline(namespace, NAME).get("status") or {}).get("epoch"))

    bed.until("an engine is asked for", begun, seconds=180, every=0.1)
    assert bed.phase(namespace, NAME) == "Startup"
    epochs.append(state_of(bed, namespace, NAME).epoch)
    kill_operator(bed)


def test_what_one_operator_began_the_next_one_finishes(
    bed: Bed, namespace: str, running: Callable[..., product.Producer], deleted: Callable[[str], None]
) -> None:
    other = bed.namespace(f"{namespace}-b")
    product.grant(bed, other)
    try:
        running(other, "bystander")
        asked: list[int] = []
        running(namespace, meanwhile=partial(kill_in_startup, bed, namespace, asked))
        undisturbed = state_of(bed, other, "bystander")
        epoch = state_of(bed, namespace, NAME).epoch
        assert asked == [epoch], "what was asked for first is what runs under the next operator"
        assert bed.phase(namespace, NAME) == "Normal"
        kill_operator(bed)
        bed.streampipeline("drill", NAME, "-n", namespace)  # while nobody is there to hear of it
        for number, phase in enumerate(ORDER[:-1]):
            later = partial(reached, bed, namespace, epoch, ORDER[number:])
            bed.until(f"the pipeline is {phase}", later, seconds=150, every=0.1)
            kill_operator(bed)
        bed.until("Normal, Dask at zero", lambda: settled(bed, namespace, NAME, streaming=True), seconds=240)
        after = state_of(bed, namespace, NAME)
        assert after.epoch > epoch
        assert after.hand_overs[-1].completed is not None
        bystander = state_of(bed, other, "bystander")
        assert (bystander.epoch, bystander.hand_overs) == (undisturbed.epoch, ())
        assert bed.phase(other, "bystander") == "Normal"
        for where, name in ((namespace, NAME), (other, "bystander")):
            audit = audited(bed, where, name)
            assert (audit["lost"], audit["doubled"], audit["differing"]) == (0, 0, 0)
            assert audit["windows_expected"] > 0
        bed.streampipeline("pin", "bystander", "dask", "-n", other)
        triggering = partial(bed.phase, other, "bystander")
        bed.until("it is deleted in Triggering", lambda: triggering() == "Triggering", seconds=30, every=0.1)
    finally:
        deleted(other)
        bed.kubectl("delete", "namespace", other, "--wait=false")
