#!/usr/bin/python3 -IS
"""runc for machines whose capability bounding set lacks CAP_SYS_RESOURCE.

There, runc can give a container neither that capability (`docker run --privileged` asks for it) nor a
negative OOM score. This wrapper takes both out of what the engine asks for, then becomes runc.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RUNC = "/usr/sbin/runc"
MISSING = "CAP_SYS_RESOURCE"


def without_missing(spec: dict[str, Any]) -> None:
    """Take both out of an OCI `config.json`, or out of the bare process that an exec gets."""
    process = spec.get("process", spec)
    for names in process.get("capabilities", {}).values():
        while MISSING in names:
            names.remove(MISSING)
    if process.get("oomScoreAdj", 0) < 0:
        process["oomScoreAdj"] = 0


def spec_file(arguments: Sequence[str]) -> Path | None:
    """The file that a command line of runc names with `--bundle` or `--process`; None if there is none."""
    for option, name in (("--bundle", "config.json"), ("--process", "")):
        for place, word in enumerate(arguments):
            if word == option and place + 1 < len(arguments):
                return Path(arguments[place + 1], name)
            if word.startswith(f"{option}="):
                return Path(word.removeprefix(f"{option}="), name)
    return None


def main() -> None:
    """Rewrite the file, then run runc in place of this program."""
    path = spec_file(sys.argv[1:])
    if path is not None and path.exists():
        spec = json.loads(path.read_text())
        without_missing(spec)
        path.write_text(json.dumps(spec))
    os.execv(RUNC, [RUNC, *sys.argv[1:]])  # noqa: S606 - there is no shell to start


if __name__ == "__main__":
    main()
