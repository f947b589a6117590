"""The rules between fields, by the path of a field: those of `validate` and `names`, in the same words.

Beside them stand the rules that only the API server can check, because it knows the old values: what may not
change on a live pipeline. The rules need Kubernetes 1.29 or newer (optional values, `.?`).
"""

from __future__ import annotations

from collections.abc import Mapping

from streampipeline.api.cel import ANEW, LIVE, Rule, fixed, forbidden, listed, missing, one_of, unchanged
from streampipeline.api.names import RESERVED
from streampipeline.api.spec import NAME_LENGTH, SERVICE_NAME
from streampipeline.api.structure import PATTERNS
from streampipeline.api.validate import BUNDLED_MODELS, INTERNAL_TOPICS

_RESERVED = listed(tuple(sorted(RESERVED)))

# Of the metadata a server knows no fields: their rules cannot point at one.
_NAME = (
    Rule(
        f"size(self.metadata.name) <= {NAME_LENGTH}",
        f"metadata.name is longer than {NAME_LENGTH} characters; use a shorter one",
    ),
    Rule(
        f"self.metadata.name.matches('{SERVICE_NAME}')",
        'metadata.name {}: "{{self.metadata.name}}"; {}'.format(*PATTERNS[SERVICE_NAME]),
    ),
)

_TOPIC = (
    Rule("!(self in ['.', '..'])", 'cannot be "{self}"; give the topic another name'),
    Rule(
        f"!self.startsWith('{INTERNAL_TOPICS}')",
        f'begins with "{INTERNAL_TOPICS}", as the product\'s own topics do; give the topic another name',
    ),
)

_FIRST_START = "only the first start of a pipeline reads it"

_KAFKA = (
    missing(
        "self.startFrom != 'Timestamp' || has(self.startTimestamp)",
        "is missing, and startFrom is Timestamp; "
        "add the Kafka timestamp to begin at, in milliseconds since 1970 UTC",
        ".startTimestamp",
    ),
    forbidden(
        "self.startFrom == 'Timestamp' || !has(self.startTimestamp)",
        "is given, but startFrom is {self.startFrom}; set startFrom to Timestamp, or remove startTimestamp",
        ".startTimestamp",
    ),
    fixed("topic"),
    fixed("startFrom", _FIRST_START),
    fixed("startTimestamp", _FIRST_START),
)

_PORT = "int(self.substring(self.lastIndexOf(':') + 1))"
_SERVER = Rule(
    # What is no host:port at all is refused by the pattern; int() would only fail on it.
    f"!self.matches(':[0-9]{{1,5}}$') || ({_PORT} >= 1 && {_PORT} <= 65535)",
    f"has no port of 1 to 65535: {{{_PORT}}}; write it as in kafka:9092",
)

_FORMAT = (
    *one_of("schema", "schemaConfigMapRef"),
    forbidden(
        "self.type == 'ConfluentAvro' || size(self.?schemaIds.orValue([])) == 0",
        "is given, but type is {self.type}; remove it, or set type to ConfluentAvro",
        ".schemaIds",
    ),
)

_KEY = (
    Rule(
        f"!(self in {_RESERVED})",
        'cannot be "{self}": it becomes a tag of each point, which has a value of this name; '
        "rename the field in the schema and the records",
    ),
    Rule(
        "!self.startsWith('_')",
        'cannot begin with "_": it becomes a tag of each point, and InfluxDB keeps such names ("{self}"); '
        "rename the field in the schema and the records",
    ),
)

_DELAY = Rule(
    "self.allowedDelaySeconds <= self.maxLatenessSeconds",
    "must not be above maxLatenessSeconds ({self.maxLatenessSeconds}), is {self.allowedDelaySeconds}; "
    "set it to at most {self.maxLatenessSeconds}, or raise maxLatenessSeconds",
    ".allowedDelaySeconds",
)

_REST = "self.sizeSeconds % self.slideSeconds"
_SLIDING = (
    Rule(
        "self.slideSeconds <= self.sizeSeconds",
        "must not be above sizeSeconds ({self.sizeSeconds}), is {self.slideSeconds}: "
        "records between windows would be lost; set it to at most {self.sizeSeconds}",
        ".slideSeconds",
    ),
    Rule(
        f"self.slideSeconds < 1 || self.slideSeconds > self.sizeSeconds || {_REST} == 0",
        "must be a multiple of slideSeconds ({self.slideSeconds}), is {self.sizeSeconds}; set it to "
        f"{{self.sizeSeconds - {_REST}}} or {{self.sizeSeconds - {_REST} + self.slideSeconds}}",
        ".sizeSeconds",
    ),
)

_AGGREGATE = (
    # `function` is a word of CEL's own: it is asked for with underscores.
    forbidden(
        "self.__function__ != 'Count' || !has(self.field)",
        "is given, but Count counts records; remove field",
        ".field",
    ),
    missing(
        "self.__function__ == 'Count' || has(self.field)",
        "is missing: {self.__function__} of what?; add the field of the record to aggregate",
        ".field",
    ),
)

_FREE = Rule(f"!(self in {_RESERVED})", 'is already a field of each point: "{self}"; choose another name')


def _bundled(name: str, inputs: tuple[str, ...]) -> Rule:
    wanted = ", ".join(inputs)
    return Rule(
        f"self.?managed.?bundled.orValue('') != '{name}' || "
        f"(size(self.inputs) == {len(inputs)} && self.inputs.all(i, i in {listed(inputs)}))",
        f"are not those of the model {name}: {wanted}; set it to [{wanted}]",
        ".inputs",
    )


_MODEL = (
    *one_of("managed", "external"),
    *(_bundled(name, inputs) for name, inputs in BUNDLED_MODELS.items()),
)

_BUNDLED = Rule(
    f"self in {listed(tuple(BUNDLED_MODELS))}",
    'is no model that ships with the product: "{self}"; '
    f"use {', '.join(BUNDLED_MODELS)}, or image with a Bento of your own",
)

_ON_UNAVAILABLE = (
    missing(
        "self.policy != 'UseDefault' || has(self.default)",
        "is missing, and policy is UseDefault; add the output of points that are not scored",
        ".default",
    ),
    forbidden(
        "self.policy != 'Wait' || !has(self.default)",
        "is given, but policy is Wait; remove it, or set policy to UseDefault",
        ".default",
    ),
)


def _sink_keeps(paths: tuple[str, ...], words: str) -> Rule:
    # Elements of a plain list have no old value of their own: the only one is reached from the list.
    same = " && ".join(unchanged(path, "[0]") for path in paths)
    return forbidden(f"size(self) != 1 || size(oldSelf) != 1 || ({same})", words)


_SINKS = (
    forbidden("size(self) <= 1", "is one sink more than v1alpha1 writes to; keep one sink"),
    _sink_keeps(
        ("influxdb.external.org", "influxdb.bucket", "influxdb.measurement", "parquet.path"),
        f"cannot change kind, org, bucket, measurement or path {LIVE}: "
        f"the results that are there would be missed; {ANEW}",
    ),
    _sink_keeps(
        ("influxdb.managed.storage",),
        f"cannot change managed.storage {LIVE}: a volume keeps its size; {ANEW}",
    ),
)

_SPEC = (
    Rule(
        "self.source.kafka.topic != self.deadLetter.topic",
        'is the topic that is read, "{self.deadLetter.topic}": refused records would be read again, '
        "for ever; use another one, such as {self.source.kafka.topic}-dead-letter",
        ".deadLetter.topic",
    ),
    Rule(
        "self.aggregates.all(a, a.name != self.source.keyField)",
        'is already the key field: "{self.source.keyField}"; choose another name',
        ".aggregates",
    ),
    Rule(
        "self.aggregates.all(a, a.name != self.model.output)",
        'is already the name of another aggregate: "{self.model.output}"; choose another name',
        ".model.output",
    ),
    Rule(
        "self.model.output != self.source.keyField",
        'is already the key field: "{self.model.output}"; choose another name',
        ".model.output",
    ),
    Rule(
        "self.model.inputs.all(i, self.aggregates.exists(a, a.name == i))",
        'is no aggregate: "{self.model.inputs.filter(i, !self.aggregates.exists(a, a.name == i))[0]}"; '
        "add an aggregate of this name, or use one that is there",
        ".model.inputs",
    ),
    fixed("window"),
)

_WORKERS = Rule(
    "self.min <= self.max",
    "must not be above max ({self.max}), is {self.min}; set it to at most {self.max}, or raise max",
    ".min",
)

_RESUME = Rule(
    "self.resumeLatencySeconds < self.latencySeconds",
    "must be below latencySeconds ({self.latencySeconds}), is {self.resumeLatencySeconds}; "
    "set it below that, or raise latencySeconds",
    ".resumeLatencySeconds",
)

RULES: Mapping[str, tuple[Rule, ...]] = {
    "": _NAME,
    "spec": _SPEC,
    "spec.source": (fixed("keyField"), fixed("format"), fixed("eventTime")),
    "spec.source.kafka": _KAFKA,
    "spec.source.kafka.bootstrapServers[]": (_SERVER,),
    "spec.source.kafka.topic": _TOPIC,
    "spec.source.format": _FORMAT,
    "spec.source.keyField": _KEY,
    "spec.source.eventTime": (_DELAY,),
    "spec.window": one_of("tumbling", "sliding"),
    "spec.window.sliding": _SLIDING,
    "spec.aggregates[]": _AGGREGATE,
    "spec.aggregates[].name": (_FREE,),
    "spec.model": _MODEL,
    "spec.model.managed": one_of("bundled", "image"),
    "spec.model.managed.bundled": (_BUNDLED,),
    "spec.model.output": (_FREE,),
    "spec.model.onUnavailable": _ON_UNAVAILABLE,
    "spec.sinks": _SINKS,
    "spec.sinks[]": one_of("influxdb", "parquet"),
    "spec.sinks[].influxdb": one_of("managed", "external"),
    "spec.deadLetter": (fixed("topic", "the audit looks for refused records there"),),
    "spec.deadLetter.topic": _TOPIC,
    "spec.fallback.dask.workers": (_WORKERS,),
    "spec.failover": (_RESUME,),
}
"""By path; "[]" stands for the elements of a list, "" for the resource itself."""
