"""What a generation is told to its jobs, and which model answers for it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.support.http_answers import Answer, Request, http_server
from tests.support.publish_config import job_config, parquet_sink, spec

from streampipeline.api.definition import Definition, type_changes
from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.decide import State
from streampipeline.decide.observed import Health, Probe
from streampipeline.decode import Decoder
from streampipeline.jobconfig import Generation, JobConfig, ServedGeneration
from streampipeline.probes.models import Models
from streampipeline.reading import RECORDS_SCHEMA, Records
from streampipeline.refusals import Reader, unlettered

B = 50_000


def defined(*aggregates: dict[str, Any], **model: Any) -> Definition:
    document = spec(**model)
    document["aggregates"] = [*document["aggregates"], *aggregates]
    return Definition.of(StreamPipelineSpec.model_validate(document))


def served(number: int, boundary: int, definition: Definition, version: str) -> ServedGeneration:
    return ServedGeneration(
        number=number,
        boundary=boundary,
        offsets={0: number},
        definition=definition,
        model_version=version,
        model_url=f"http://model-{number}",
    )


def two(folder: Path, second: Definition) -> JobConfig:
    """A repair's configuration: generation 1, and from B on generation 2."""
    config = job_config(parquet_sink(folder))
    generations = (served(1, 0, defined(), "m-1"), served(2, B, second, "m-2"))
    told = config.model_copy(update={"generations": generations})
    return JobConfig.model_validate_json(told.dump())


def test_each_span_is_computed_as_its_generation_says(tmp_path: Path) -> None:
    more = {"name": "top", "field": "x", "function": "Max"}
    config = two(tmp_path, defined(more, timeoutSeconds=9))
    first, second = config.spans
    assert [(span.after, span.until) for span in config.spans] == [(0, B), (B, None)]
    assert [span.config.assignment.generation for span in config.spans] == [1, 2]
    assert [span.config.model_version for span in config.spans] == ["m-1", "m-2"]
    assert [span.config.model_url for span in config.spans] == ["http://model-1", "http://model-2"]
    assert [a.name for a in first.config.spec.aggregates] == ["X", "low", "count"]
    assert [a.name for a in second.config.spec.aggregates] == ["X", "low", "count", "top"]
    assert second.config.spec.model.timeout_seconds == config.spec.model.timeout_seconds
    assert second.config.assignment.epoch == config.assignment.epoch


def test_a_job_without_generations_is_one_span(tmp_path: Path) -> None:
    config = job_config(parquet_sink(tmp_path))
    [span] = config.spans
    assert (span.after, span.until, span.config) == (0, None, config)


@pytest.mark.parametrize(
    ("aggregate", "model", "where"),
    [
        ({"name": "X", "function": "Count"}, {}, "spec.aggregates: X"),
        ({"name": "level", "field": "x", "function": "Max"}, {"output": "other"}, "spec.aggregates: level"),
        ({"name": "new", "function": "Count"}, {"outputType": "Number"}, "spec.model.output"),
        ({"name": "new", "function": "Count"}, {"output": "X", "inputs": ["low"]}, "spec.model.output"),
        ({"name": "new", "function": "Count"}, {"output": "other"}, None),
        ({"name": "X", "field": "x", "function": "Max", "decimals": 1}, {}, None),
    ],
)
def test_a_value_keeps_its_type(aggregate: dict[str, Any], model: dict[str, Any], where: str | None) -> None:
    document = spec(**model)
    document["aggregates"] = [
        *(known for known in document["aggregates"] if known["name"] not in (aggregate["name"], "X")),
        aggregate,
    ]
    document["model"] |= {"inputs": ["low"]}
    problems = type_changes(StreamPipelineSpec.model_validate(document), [defined()])
    assert [problem.field for problem in problems] == ([] if where is None else [where])


def raw(*values: float) -> Records:
    """Late records of generation 1's windows, read by the engine of generation 2: e = 20 s, T = B + 10 s."""
    rows = [
        {
            "value": json.dumps({"id": "a", "datetime": 20_000, "x": x}).encode(),
            "partition": 0,
            "offset": offset,
            "t": B + 10_000,
        }
        for offset, x in enumerate(values)
    ]
    return Records(pa.Table.from_pylist(rows, schema=RECORDS_SCHEMA), {})


SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "R",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "datetime", "type": "long"},
            {"name": "x", "type": "double"},
        ],
    }
)


def test_a_record_that_only_its_windows_generation_refuses_gets_its_dead_letter(tmp_path: Path) -> None:
    """2^43 / 10^6 is 8.7 million: the first generation refuses 10 million, the second sums no decimals."""
    document = spec()
    document["aggregates"] = [{"name": "X", "field": "x", "function": "Sum", "decimals": 0}]
    document["model"] |= {"inputs": ["X"]}
    second = Definition.of(StreamPipelineSpec.model_validate(document))
    readers = [Reader(span, Decoder.of(span.config.spec, SCHEMA)) for span in two(tmp_path, second).spans]
    first, later = readers
    records = raw(1.0, 1e7, 1e13, 2.0)
    decoded = first.decoder.decode(records.table)
    found = unlettered(decoded, records, first.span, [later])
    assert found.select("offset", "reason").rows() == [(1, "OutOfRange")], "the third both refuse"
    assert unlettered(later.decoder.decode(records.table), records, later.span, []).is_empty()


def version(name: str) -> Any:
    return lambda _: Answer(200, {"predictions": [1], "modelVersion": name})


def until(models: Models, state: State, wanted: tuple[Health, Health]) -> tuple[Probe, Probe]:
    deadline = time.monotonic() + 20
    while True:
        found = models.newest(state), models.next(state)
        if (found[0].health, found[1].health) == wanted:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_the_model_of_the_newest_generation_and_the_one_to_come_are_asked() -> None:
    def stored(definition: Definition, pinned: str) -> State:
        generation = Generation(number=1, boundary=0, offsets={}, definition=definition, model_version=pinned)
        return State(since=0, generations=(generation,))

    with http_server(version("m-1")) as old, http_server(version("m-2")) as new:
        was = defined(external={"url": old.url})
        document = StreamPipelineSpec.model_validate(spec(external={"url": new.url}))
        models = Models(document, lambda model: model.external.url if model.external else "")
        try:
            newest, coming = until(models, stored(was, "m-1"), (Health.UP, Health.UP))
            assert (newest.version, coming.version) == ("m-1", "m-2")
            changed, _ = until(models, stored(was, "m-0"), (Health.DOWN, Health.UP))
            assert changed.version == "m-1"
            assert "m-1" in changed.message
            assert "m-0" in changed.message
            # In force now: there is an answer of it at once, and nothing is to come.
            state = stored(Definition.of(document), "m-2")
            assert models.newest(state) == Probe(health=Health.UP, version="m-2")
            assert models.next(state) == Probe()
        finally:
            models.close()


def test_the_version_that_a_spec_names_is_asked_for() -> None:
    def answer(request: Request) -> Answer:
        assert request.path == "/predict"
        return Answer(200, {"predictions": [1], "modelVersion": "m-1"})

    with http_server(answer) as server:
        document = StreamPipelineSpec.model_validate(spec(external={"url": server.url}, version="m-2"))
        models = Models(document, lambda _: server.url)
        try:
            newest, _ = until(models, State(since=0), (Health.DOWN, Health.UNKNOWN))
            assert newest.version == "m-1"
        finally:
            models.close()
