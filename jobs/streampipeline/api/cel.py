"""A rule between fields as the API server checks it, in CEL, and the shapes that such rules come in.

The rules themselves stand in `cel_rules`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_VALUE = re.compile(r"\{(.+?)\}")
LIVE = "on a live pipeline"
ANEW = "make a pipeline under another name, or delete this one and create it anew"


@dataclass(frozen=True)
class Rule:
    """An expression that must be true, and what is said when it is not.

    `message`: text in which {...} holds an expression, as in "must not be above max ({self.max})". `field`:
    the field below that is meant. `reason`: a kind of the API's field errors; the server leaves the value
    out of what it says for Required and Forbidden.
    """

    rule: str
    message: str
    field: str = ""
    reason: str = "FieldValueInvalid"

    def as_dict(self) -> dict[str, str]:
        """The rule as an element of x-kubernetes-validations."""
        values = _VALUE.findall(self.message)
        if values:
            # Not by concatenation: of the length of string(...) a server knows no bound, and refuses it.
            form = json.dumps(_VALUE.sub("%s", self.message.replace("%", "%%")), ensure_ascii=False)
            message = {"messageExpression": f"{form}.format([{', '.join(values)}])"}
        else:
            message = {"message": self.message}
        place = {"fieldPath": self.field} if self.field else {}
        return {"rule": self.rule, **message, **place, "reason": self.reason}


def missing(rule: str, message: str, field: str = "") -> Rule:
    """A rule that asks for a field that is not there."""
    return Rule(rule, message, field, "FieldValueRequired")


def forbidden(rule: str, message: str, field: str = "") -> Rule:
    """A rule against a field that is there, or has changed."""
    return Rule(rule, message, field, "FieldValueForbidden")


def one_of(first: str, second: str) -> tuple[Rule, Rule]:
    """Exactly one of two fields is given."""
    either = f"{first} and {second}"
    return (
        missing(
            f"has(self.{first}) || has(self.{second})",
            f"has none of {either}; give it exactly one of {either}",
        ),
        forbidden(
            f"!has(self.{first}) || !has(self.{second})",
            f"has more than one of {either}; keep {first} or {second}, not both",
        ),
    )


def unchanged(path: str, of: str = "") -> str:
    """An expression: a field is as it was, each step of whose path may be absent.

    `of`: what stands between the value that the rule is about and the path, such as [0].
    """
    # Comparing optional values (`.?`) would be shorter, but a server knows no bound of their size.
    names = path.split(".")
    steps = [".".join(names[:count]) for count in range(1, len(names) + 1)]
    new, old = (" && ".join(f"has({root}{of}.{step})" for step in steps) for root in ("self", "oldSelf"))
    return f"({new} ? {old} && self{of}.{path} == oldSelf{of}.{path} : !({old}))"


def fixed(field: str, why: str = "the results that are there rest on it") -> Rule:
    """A field keeps its value, or its absence, as long as the pipeline lives."""
    return forbidden(unchanged(field), f"cannot change {LIVE}: {why}; {ANEW}", f".{field}")


def listed(names: tuple[str, ...]) -> str:
    """A list of texts in CEL."""
    return f"[{', '.join(json.dumps(name) for name in names)}]"
