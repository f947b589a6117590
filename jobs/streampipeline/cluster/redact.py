"""Takes secrets and contents of records out of what leaves the cluster for support.

Objects are walked by their keys, texts searched for what secrets and records look like. Where it is in doubt
it takes out more: a report that says less can be asked about, one that says too much cannot be taken back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

REDACTED = "<redacted>"
WORDS = (
    r"pass(?:word|wd|phrase|code)|pwd|secret|token|(?:api|access|private|secret)[-_.]?key|credentials?|jaas|"
    r"authorization|cookie|user[-_]?name"
)
SECRET_NAME = re.compile(rf"(?i){WORDS}")
ABOUT = re.compile(r"(?i)(?:refs?|name|file|path|seconds|type)$")
"""Names of what points at a secret or describes it."""
USER_NAME = re.compile(r"(?i)user[-_]?name$")
DROPPED = ("kubectl.kubernetes.io/last-applied-configuration", "last-handled-configuration")
"""Annotations that hold the object once more, as text."""

STRING = r"""\\*"(?:[^"\\\n]|\\.)*"|'(?:[^'\n]|'')*'|\\*["'][^\n]*"""
"""Quoted; the last when its end is missing."""
NAME = rf"(?:{WORDS})[\w.-]{{0,64}}"
"""From the word on: what stands before it is left as it is, and would be slow to look for in long lines."""
QUOTED = re.compile(r"""\\*"[^"\n]*"|'[^'\n]*'""")
PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL if "BEGIN" in pattern else 0), replacement)
    for pattern, replacement in (
        (r"-----BEGIN [A-Z0-9 ]+-----.*?-----END [A-Z0-9 ]+-----", REDACTED),
        (r"-----BEGIN [A-Z0-9 ]+-----(?:\\n|[A-Za-z0-9+/=\s])*", REDACTED),
        (r"(?i)(LoginModule\b)[^;\n]*;?", rf"\1 {REDACTED}"),
        (
            r"""(?i)(authorization\\*["']?\s*[:=]\s*)\\*["']?(?:(?:token|bearer|basic|digest)\s+)?[^\s"',;]+\\*["']?""",
            rf"\1{REDACTED}",
        ),
        (r"(?i)\b(bearer|token|basic)(\s+)[A-Za-z0-9+/_.~-]{12,}={0,2}", rf"\1\2{REDACTED}"),
        (r"""(://)[^/\s"']*@""", rf"\1{REDACTED}@"),
        (rf"""(?i)((?<![\w-])--?[\w.-]{{0,64}}?{NAME}\s+)(?!-)(?:{STRING}|[^\s"']+)""", rf"\1{REDACTED}"),
        (rf"""(?i)({NAME}\\*["']?\s*[:=]\s*)(?:{STRING}|[^\s"']+)""", rf"\1{REDACTED}"),
        (r"\beyJ[\w-]+\.[\w-]+\.[\w-]*", REDACTED),
        (
            r"(?<![\w/+-])(?=[\w/+-]*[a-z])(?=[\w/+-]*[A-Z])(?=[\w/+-]*[0-9])[\w/+-]{40,}={0,2}",
            REDACTED,
        ),
        # Rows of Flink, bytes of Python, records of Kafka's clients, points that a sink rejected, and what
        # pydantic could not take.
        (r"[+-][UID][A-Z]?\[[^\n]*", f"+I[{REDACTED}]"),
        (r"""\bb(["'])(?:\\.|(?!\1)[^\\\n])*\1""", f"b'{REDACTED}'"),
        (r"\b((?:Consumer|Producer|Generic)Record|Rejected)\b\s*[({][^\n]*", rf"\1({REDACTED})"),
        (r"(input_value=)[^\n]*?(?=, input_type=|\n|$)", rf"\1{REDACTED}"),
    )
)
FAULT = re.compile(r"(?:Error|Exception|Unavailable|Refused|Failed)\b[^\n]*")
CONTENT_NAMES = frozenset(
    {"key", "keys", "value", "values", "record", "row", "payload", "expected", "found", "examples", "headers"}
)
"""Under such names records are shown, whatever the pipeline."""
LOG_TEXTS = frozenset(
    {
        "action", "before", "bucket", "component", "engine", "epoch", "error", "event", "exception",
        "fault", "file", "identity", "job", "kind", "level", "logger", "message", "model_version", "msg",
        "name", "namespace", "now", "offsets", "org", "phase", "pid", "pipeline", "pod", "reason",
        "seconds", "time", "timestamp", "timestamps", "ts", "url",
    }
)  # fmt: skip
"""Fields of JSON log lines that are kept, as texts that are searched; of others only numbers."""


@dataclass(frozen=True)
class Redactor:
    """For one pipeline. `names`: fields of its records and points; `measurement`: where its points go."""

    names: frozenset[str] = field(default_factory=frozenset)
    measurement: str = ""

    @classmethod
    def of(cls, spec: dict[str, Any], schema: str) -> Redactor:
        """From a spec, which may be wrong, and the text of its Avro schema, which may be empty."""
        source, found = spec.get("source") or {}, set()
        found |= {source.get("keyField"), (source.get("eventTime") or {}).get("field")}
        for aggregate in spec.get("aggregates") or []:
            found |= {aggregate.get("name"), aggregate.get("field")}
        found.add((spec.get("model") or {}).get("output"))
        found |= set(_schema_names(schema))
        sinks = [sink.get("influxdb") or {} for sink in spec.get("sinks") or []]
        measurement = next((str(sink["measurement"]) for sink in sinks if sink.get("measurement")), "")
        return cls(frozenset(str(name) for name in found if name), measurement)

    def text(self, text: str) -> str:
        """Any text: a message, a line of a log, a whole log."""
        for pattern, replacement in self._patterns:
            text = pattern.sub(replacement, text)
        return FAULT.sub(lambda match: QUOTED.sub(f"'{REDACTED}'", match[0]), text)

    @cached_property
    def _patterns(self) -> tuple[tuple[re.Pattern[str], str], ...]:
        names = "|".join(sorted(map(re.escape, self.names | CONTENT_NAMES), key=len, reverse=True))
        content = rf"""(?<!\w)({names})(\\*["']?\s*[:=]\s*)(?:{STRING}|[^,;)\]}}\n]+)"""
        patterns = [(re.compile(content), rf"\1\2{REDACTED}"), *PATTERNS]
        if self.measurement:
            point = rf"(?<![\w-])({re.escape(self.measurement)})(?:,| +[^\s=]+=)[^\n]*"
            patterns.insert(0, (re.compile(point), rf"\1,{REDACTED}"))
        return tuple(patterns)

    def tree(self, value: Any, name: str = "") -> Any:
        """An object of the API server. Names of Secrets stay: they say what a spec refers to."""
        if isinstance(value, dict):
            return self._mapping(value)
        if isinstance(value, list):
            return self._list(value, name)
        if isinstance(value, bool) or value is None:
            return value
        if secret_name(name):
            return REDACTED
        return self.text(value) if isinstance(value, str) else value

    def _mapping(self, value: dict[str, Any]) -> dict[str, Any]:
        if "name" in value and "value" in value and secret_name(str(value["name"])):
            return {**self._mapping({k: v for k, v in value.items() if k != "value"}), "value": REDACTED}
        return {
            key: self.tree(inner, key)
            for key, inner in value.items()
            if key != "managedFields" and not any(part in key for part in DROPPED)
        }

    def _list(self, value: list[Any], name: str) -> list[Any]:
        """Of arguments, the one behind `--password` is one."""
        kept = []
        before: Any = ""
        for item in value:
            flag = isinstance(before, str) and before[:1] == "-" and "=" not in before and secret_name(before)
            kept.append(REDACTED if flag and isinstance(item, str) else self.tree(item, name))
            before = item
        return kept

    def log(self, text: str, keep: Callable[[dict[str, Any]], bool] = lambda _: True) -> str:
        """A log. Of lines that are JSON objects `keep` says which stay, and only known fields are texts."""
        lines: list[str] = []
        for line in text.splitlines():
            entry = _json_object(line)
            if entry is None:
                lines.append(line)
            elif keep(entry):
                # Already clean; the search below finds nothing more in it than it would in any text.
                lines.append(json.dumps(self._entry(entry), ensure_ascii=False))
        return self.text("\n".join(lines)) + "\n" if lines else ""

    def _entry(self, entry: dict[str, Any]) -> dict[str, Any]:
        return {name: self._logged(name, value) for name, value in entry.items()}

    def _logged(self, name: str, value: Any) -> Any:
        if secret_name(name) or name in self.names | CONTENT_NAMES:
            return REDACTED
        if name in LOG_TEXTS:
            return self.tree(value, name)
        return value if isinstance(value, bool | int | float) or value is None else REDACTED


def secret_name(name: str) -> bool:
    """Whether a value of this name is a secret, and not only about one."""
    if USER_NAME.search(name):
        return True
    return bool(SECRET_NAME.search(name)) and not ABOUT.search(name)


def _schema_names(schema: str) -> Iterable[str]:
    """Names of all fields in an Avro schema, nested ones too."""
    try:
        stack: list[Any] = [json.loads(schema)] if schema else []
    except ValueError:
        return
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            stack += part
        elif isinstance(part, dict):
            for each in part.get("fields") or []:
                yield str(each.get("name"))
                stack.append(each.get("type"))
            stack += [
                part[key] for key in ("items", "values", "type") if isinstance(part.get(key), dict | list)
            ]


def _json_object(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
