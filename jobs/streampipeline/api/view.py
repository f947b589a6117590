"""A tolerant look at a resource: values by path, None where one is absent or wrong in itself.

Rules that span fields are asked of this view instead of the typed model, so that they can speak although
some other field is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from streampipeline.api.fields import with_defaults

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


class View:
    """`broken`: paths of fields that are known to be wrong; asking for one of them gives None."""

    def __init__(self, document: Mapping[str, object], broken: Collection[str] = ()) -> None:
        self._document = with_defaults(document)
        self._broken = frozenset(broken)

    def value(self, path: str) -> object | None:
        """The value at a path such as "spec.sinks[0].influxdb.bucket"."""
        if path in self._broken:
            return None
        found: object = self._document
        for name, index in _STEP.findall(path):
            if name and isinstance(found, Mapping):
                found = found.get(name)
            elif index and isinstance(found, list) and int(index) < len(found):
                found = found[int(index)]
            else:
                return None
        return found

    def is_broken(self, path: str) -> bool:
        """Whether something is there, or was wanted, that is wrong in itself."""
        return path in self._broken

    def integer(self, path: str) -> int | None:
        """The whole number at a path."""
        value = self.value(path)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def text(self, path: str) -> str | None:
        """The text at a path."""
        value = self.value(path)
        return value if isinstance(value, str) else None

    def present(self, path: str) -> bool:
        """Whether there is a value, and not a wrong one."""
        return self.value(path) is not None

    def mapping(self, path: str) -> bool:
        """Whether the value is a mapping of fields."""
        return isinstance(self.value(path), Mapping)

    def elements(self, path: str) -> Iterator[str]:
        """Paths of the elements of the list at a path."""
        value = self.value(path)
        for index in range(len(value) if isinstance(value, list) else 0):
            yield f"{path}[{index}]"

    def texts(self, path: str) -> Iterator[tuple[str, str]]:
        """(path, value) of the elements of the list at a path that are texts."""
        for element in self.elements(path):
            value = self.text(element)
            if value is not None:
                yield element, value
