"""What is wrong with a resource: where, what, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong.

    `field` is the path in the YAML file ("spec.aggregates[0].field"; "" for the file as a whole), `message`
    says what is wrong in words that follow the path, `remedy` what to do.
    """

    field: str
    message: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.field}: " if self.field else ""
        return f"{place}{self.message}; {self.remedy}"

    def as_dict(self) -> dict[str, str]:
        """The problem as a JSON object."""
        return asdict(self)


class InvalidPipelineError(ValueError):
    """A resource or its file is not usable; `problems` holds everything that is wrong, never empty."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


def path_of(parts: Sequence[str | int]) -> str:
    """Path as users write it: ("spec", "sinks", 0, "influxdb") -> "spec.sinks[0].influxdb"."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path
