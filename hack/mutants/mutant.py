"""A mutant: one place of the production code, changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MAVEN = "maven:"
"""Prefix of a test class of flink-decoder; every other test is one of pytest's."""


class StaleMutantError(Exception):
    """The code that a mutant changes is not there, or there more than once."""


@dataclass(frozen=True)
class Mutant:
    """One change, and who is to notice it."""

    name: str
    rule: str
    """Of docs/design.md: the number of one of the rules of exactness, or a heading."""
    breaks: str
    """What is no longer so, in words."""
    file: str
    """Below the root of the checkout."""
    old: str
    """Stands there exactly once."""
    new: str
    tests: tuple[str, ...]
    """The fewest that catch it: names that pytest takes, or classes with `MAVEN` before."""

    def mutated(self, root: Path) -> str:
        """The file's text with the change. Raises StaleMutantError."""
        path = root / self.file
        text = path.read_text() if path.exists() else ""
        found = text.count(self.old)
        if found != 1:
            raise StaleMutantError(f"{self.name}: what it changes is {found} times in {self.file}")
        return text.replace(self.old, self.new)

    def apply(self, root: Path) -> None:
        """Change the file below `root`. Raises StaleMutantError."""
        text = self.mutated(root)
        (root / self.file).write_text(text)
