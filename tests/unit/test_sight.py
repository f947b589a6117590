"""What is made of several probes' answers."""

from __future__ import annotations

from streampipeline.decide.observed import Health, Probe
from streampipeline.probes.pipeline import PipelineLook
from streampipeline.probes.poller import Reading
from streampipeline.sight import source_health

UP, DOWN = Probe(health=Health.UP), Probe(health=Health.DOWN, message="refused")


def test_a_broker_that_answers_but_shows_no_offsets_is_down() -> None:
    failed = Reading[PipelineLook](None, "KafkaException: no leaders found", at=0)
    assert source_health(UP, failed) == Probe(health=Health.DOWN, message="KafkaException: no leaders found")
    assert source_health(UP, Reading(PipelineLook(), "", at=0)) == UP
    assert source_health(UP, None) == UP, "a look that hangs says nothing"
    assert source_health(DOWN, failed) == DOWN
