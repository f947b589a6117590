"""Everything that is wrong with a StreamPipeline: single fields first, then rules that span fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import cast

from streampipeline.api import fields, names, schema_rules, structure
from streampipeline.api.problems import InvalidPipelineError, Problem
from streampipeline.api.spec import API_VERSION, KIND, StreamPipeline
from streampipeline.api.view import View

ConfigMaps = Mapping[str, Mapping[str, str]]
"""Data of the ConfigMaps that are known, by the name of the ConfigMap."""

BUNDLED_MODELS: Mapping[str, tuple[str, ...]] = {"nurse-stress": ("X", "Y", "Z", "EDA", "HR", "TEMP")}
"""Models that ship with the product, and their inputs."""

INTERNAL_TOPICS = "streampipeline."
"""What the names of the product's own topics begin with."""

Rule = Callable[[View], Iterator[Problem]]


def validate(document: Mapping[str, object], config_maps: ConfigMaps | None = None) -> list[Problem]:
    """All problems of one StreamPipeline document, in the order of its fields. Empty: it is fine.

    `config_maps`: where schemaConfigMapRef is resolved; a ConfigMap that is not there is a problem. None:
    they are not known here, and what depends on the schema is not checked.
    """
    document = cast("Mapping[str, object]", fields.without_nulls(document))
    problems = structure.check(document)
    view = View(document, {problem.field for problem in problems})
    for rule in RULES:
        problems += rule(view)
    problems += schema_rules.check(view, config_maps)
    return list(dict.fromkeys(problems))


def parse(document: Mapping[str, object], config_maps: ConfigMaps | None = None) -> StreamPipeline:
    """The typed resource of a document. Raises InvalidPipelineError with all its problems."""
    problems = validate(document, config_maps)
    if problems:
        raise InvalidPipelineError(problems)
    return StreamPipeline.model_validate(fields.without_nulls(document), by_alias=True, by_name=False)


def _is_ours(view: View) -> Iterator[Problem]:
    for field, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
        found = view.text(field)
        if found is not None and found != wanted:
            yield Problem(field, f'must be {wanted}, is "{found}"', f"write {wanted}")


def _unions(view: View) -> Iterator[Problem]:
    unions = [
        ("spec.window", ("tumbling", "sliding")),
        ("spec.model", ("managed", "external")),
        ("spec.model.managed", ("bundled", "image")),
        ("spec.source.format", ("schema", "schemaConfigMapRef")),
    ]
    for sink in view.elements("spec.sinks"):
        unions += [(sink, ("influxdb", "parquet")), (f"{sink}.influxdb", ("managed", "external"))]
    for path, members in unions:
        if not view.mapping(path):
            continue
        chosen = [member for member in members if view.present(f"{path}.{member}")]
        either = " and ".join(members)
        if not chosen and not any(view.is_broken(f"{path}.{member}") for member in members):
            yield Problem(path, f"has none of {either}", f"give it exactly one of {either}")
        elif len(chosen) > 1:
            yield Problem(
                path, f"has more than one of {either}", f"keep {chosen[0]} or {chosen[1]}, not both"
            )


def _source(view: View) -> Iterator[Problem]:
    kafka = "spec.source.kafka"
    start, timestamp = view.text(f"{kafka}.startFrom"), view.present(f"{kafka}.startTimestamp")
    if start == "Timestamp" and not timestamp and not view.is_broken(f"{kafka}.startTimestamp"):
        yield Problem(
            f"{kafka}.startTimestamp",
            "is missing, and startFrom is Timestamp",
            "add the Kafka timestamp to begin at, in milliseconds since 1970 UTC",
        )
    if start in ("Earliest", "Latest") and timestamp:
        yield Problem(
            f"{kafka}.startTimestamp",
            f"is given, but startFrom is {start}",
            "set startFrom to Timestamp, or remove startTimestamp",
        )
    for path, server in view.texts(f"{kafka}.bootstrapServers"):
        port = int(server.rpartition(":")[2])
        if not 1 <= port <= 65535:
            yield Problem(path, f"has no port of 1 to 65535: {port}", "write it as in kafka:9092")
    if view.value("spec.source.format.schemaIds") and view.text("spec.source.format.type") != "ConfluentAvro":
        yield Problem(
            "spec.source.format.schemaIds",
            f"is given, but type is {view.text('spec.source.format.type')}",
            "remove it, or set type to ConfluentAvro",
        )
    source, dead = view.text(f"{kafka}.topic"), view.text("spec.deadLetter.topic")
    if source is not None and source == dead:
        yield Problem(
            "spec.deadLetter.topic",
            f'is the topic that is read, "{source}": refused records would be read again, for ever',
            f"use another one, such as {source[:237]}-dead-letter",
        )
    for path in (f"{kafka}.topic", "spec.deadLetter.topic"):
        topic = view.text(path)
        if topic in (".", ".."):
            yield Problem(path, f'cannot be "{topic}"', "give the topic another name")
        elif topic is not None and topic.startswith(INTERNAL_TOPICS):
            yield Problem(
                path,
                f'begins with "{INTERNAL_TOPICS}", as the product\'s own topics do',
                "give the topic another name",
            )


def _times(view: View) -> Iterator[Problem]:
    event_time = "spec.source.eventTime"
    delay, lateness = (
        view.integer(f"{event_time}.allowedDelaySeconds"),
        view.integer(f"{event_time}.maxLatenessSeconds"),
    )
    if delay is not None and lateness is not None and delay > lateness:
        yield Problem(
            f"{event_time}.allowedDelaySeconds",
            f"must not be above maxLatenessSeconds ({lateness}), is {delay}",
            f"set it to at most {lateness}, or raise maxLatenessSeconds",
        )
    size, slide = (
        view.integer("spec.window.sliding.sizeSeconds"),
        view.integer("spec.window.sliding.slideSeconds"),
    )
    if size is not None and slide is not None:
        if slide > size:
            yield Problem(
                "spec.window.sliding.slideSeconds",
                f"must not be above sizeSeconds ({size}), is {slide}: records between windows would be lost",
                f"set it to at most {size}",
            )
        elif size % slide:
            yield Problem(
                "spec.window.sliding.sizeSeconds",
                f"must be a multiple of slideSeconds ({slide}), is {size}",
                f"set it to {size - size % slide} or {size - size % slide + slide}",
            )
    trigger, resume = (
        view.integer("spec.failover.latencySeconds"),
        view.integer("spec.failover.resumeLatencySeconds"),
    )
    if trigger is not None and resume is not None and resume >= trigger:
        remedy = f"set it to at most {trigger - 1}" if trigger > 1 else "raise latencySeconds to at least 2"
        yield Problem(
            "spec.failover.resumeLatencySeconds",
            f"must be below latencySeconds ({trigger}), is {resume}",
            remedy,
        )
    least, most = (
        view.integer("spec.fallback.dask.workers.min"),
        view.integer("spec.fallback.dask.workers.max"),
    )
    if least is not None and most is not None and least > most:
        yield Problem(
            "spec.fallback.dask.workers.min",
            f"must not be above max ({most}), is {least}",
            f"set it to at most {most}, or raise max",
        )


def _aggregates(view: View) -> Iterator[Problem]:
    for path in view.elements("spec.aggregates"):
        function, field = view.text(f"{path}.function"), view.present(f"{path}.field")
        if function == "Count" and field:
            yield Problem(f"{path}.field", "is given, but Count counts records", "remove field")
        if function not in (None, "Count") and not field and not view.is_broken(f"{path}.field"):
            yield Problem(
                f"{path}.field",
                f"is missing: {function} of what?",
                "add the field of the record to aggregate",
            )


def _model(view: View) -> Iterator[Problem]:
    given = [value for path in view.elements("spec.aggregates") if (value := view.text(f"{path}.name"))]
    seen: set[str] = set()
    for path, name in view.texts("spec.model.inputs"):
        if name in seen:
            yield Problem(path, f'is there twice: "{name}"', "remove one of them")
        elif name not in given and given:
            near = fields.nearest(name, given)
            remedy = (
                f"did you mean {near}?"
                if near
                else f"add an aggregate of this name, or use {', '.join(given)}"
            )
            yield Problem(path, f'is no aggregate: "{name}"', remedy)
        seen.add(name)
    bundled = view.text("spec.model.managed.bundled")
    if bundled is not None and bundled not in BUNDLED_MODELS:
        near = fields.nearest(bundled, list(BUNDLED_MODELS))
        remedy = (
            f"did you mean {near}?"
            if near
            else f"use {', '.join(BUNDLED_MODELS)}, or image with a Bento of your own"
        )
        yield Problem(
            "spec.model.managed.bundled", f'is no model that ships with the product: "{bundled}"', remedy
        )
    elif bundled is not None and seen and seen != set(BUNDLED_MODELS[bundled]):
        wanted = ", ".join(BUNDLED_MODELS[bundled])
        yield Problem(
            "spec.model.inputs", f"are not those of the model {bundled}: {wanted}", f"set it to [{wanted}]"
        )
    policy, default = (
        view.text("spec.model.onUnavailable.policy"),
        view.present("spec.model.onUnavailable.default"),
    )
    place = "spec.model.onUnavailable.default"
    if policy == "UseDefault" and not default and not view.is_broken(place):
        yield Problem(
            place, "is missing, and policy is UseDefault", "add the output of points that are not scored"
        )
    if policy == "Wait" and default:
        yield Problem(place, "is given, but policy is Wait", "remove it, or set policy to UseDefault")


def _sinks(view: View) -> Iterator[Problem]:
    for extra in list(view.elements("spec.sinks"))[1:]:
        yield Problem(extra, "is one sink more than v1alpha1 writes to", "keep one sink")


RULES: tuple[Rule, ...] = (_is_ours, _source, _times, _unions, _aggregates, names.check, _model, _sinks)
