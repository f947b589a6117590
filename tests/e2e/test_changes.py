"""What a user asks of a pipeline at work: to compute something else, refused records, windows anew."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from testbed import product
from testbed.bed import Bed
from testbed.outcome import audited, fresh, state_of

NAME = "nurse-stress"


def test_a_pipeline_is_changed_while_it_works_and_deleted_in_fallback(
    bed: Bed, namespace: str, running: Callable[..., product.Producer], deleted: Callable[[str], None]
) -> None:
    def answer(*arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            bed.streampipeline(*arguments, "-n", namespace, "-o", "json").stdout
        )
        return found

    running(namespace, sends=["--poison=600"])
    began = time.time()
    bed.until("results come", lambda: fresh(bed, namespace, NAME, since=began), seconds=90)
    before = state_of(bed, namespace, NAME)
    edit = [{"op": "replace", "path": "/spec/aggregates/0/decimals", "value": 2}]
    bed.kubectl("patch", "sp", NAME, "-n", namespace, "--type=json", "-p", json.dumps(edit))
    bed.until(
        "the next generation has begun",
        lambda: state_of(bed, namespace, NAME).generation == before.generation + 1,
        seconds=60,
    )
    began = time.time()
    bed.until("results come in it", lambda: fresh(bed, namespace, NAME, since=began), seconds=90)
    events = bed.kubectl("get", "events", "-n", namespace)
    assert "GenerationStarted" in events
    after = state_of(bed, namespace, NAME)
    assert [each.definition.aggregates[0].decimals for each in after.generations] == [6, 2]
    assert len({each.model_version for each in after.generations}) == 1

    listed = answer("dlq", "list", NAME)
    assert set(listed["reasons"]) == {"Undecodable"}
    assert all("value" not in letter for letter in listed["letters"]), "contents only when asked for"
    replayed = bed.streampipeline("dlq", "replay", NAME, "--dry-run", "-n", namespace, check=False)
    assert replayed.returncode == 1, "no schema was changed: they would be refused again"

    done = answer("backfill", NAME, "--from", "60s", "--to", "30s")
    assert "recomputed" in done["said"], done

    audit = audited(bed, namespace, NAME)
    assert (audit["lost"], audit["doubled"], audit["differing"]) == (0, 0, 0), json.dumps(audit)
    assert audit["dead_lettered"] >= listed["total"] > 0

    # Deleted in Fallback, nothing of it is left.
    bed.streampipeline("pin", NAME, "dask", "-n", namespace)
    bed.until("Dask works", lambda: bed.phase(namespace, NAME) == "Fallback", seconds=90)
    uid = bed.pipeline(namespace, NAME)["metadata"]["uid"]
    deleted(namespace)
    topics = bed.kubectl("exec", "-n", namespace, "kafka-0", "--", "ls", "/var/lib/kafka/data")
    live = [name for name in topics.split() if uid in name and not name.endswith("-delete")]
    assert live == []
