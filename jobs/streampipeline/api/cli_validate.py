"""`streampipeline validate FILE`: everything that is wrong, with field and remedy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streampipeline.api.load import load
from streampipeline.api.problems import InvalidPipelineError, Problem

Found = list[tuple[str, Problem]]
"""(name of the pipeline, "" for the file as a whole; problem)"""


def validate_file(
    path: Path,
    *,
    output: Literal["text", "json"] = "text",
    environ: Mapping[str, str] | None = None,
    console: Console | None = None,
) -> int:
    """Check every StreamPipeline of a file and print all problems to standard output.

    `environ`: variables that override fields; None: the file alone. Text: a table on a terminal, otherwise
    one line a problem. Json: `{"file", "valid", "pipelines": [names], "problems": [{"pipeline", "field",
    "message", "remedy"}]}`. Returns 0 when all is fine, 1 otherwise (also when the file cannot be read).
    """
    names, found = _problems(path, environ)
    console = console or Console(soft_wrap=output == "json", highlight=False)
    if output == "json":
        answer = {
            "file": str(path),
            "valid": not found,
            "pipelines": names,
            "problems": [{"pipeline": name, **problem.as_dict()} for name, problem in found],
        }
        console.out(json.dumps(answer, indent=1, ensure_ascii=False), highlight=False)
    elif not found:
        console.print(f"{path}: fine ({', '.join(names)})", markup=False, soft_wrap=True)
    else:
        _print(console, path, found, several=len(names) > 1)
    return 1 if found else 0


def _problems(path: Path, environ: Mapping[str, str] | None) -> tuple[list[str], Found]:
    try:
        manifest = load(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return [], [("", Problem("", f"{path} cannot be read: {reason}", "check the path"))]
    except InvalidPipelineError as error:
        return [], [("", problem) for problem in error.problems]
    if len(manifest.pipelines) == 1:
        name = manifest.names[0]
        return manifest.names, [(name, problem) for problem in manifest.problems(None, environ)]
    return manifest.names, [
        (name, problem) for name in manifest.names for problem in manifest.problems(name, environ)
    ]


def _print(console: Console, path: Path, found: Found, *, several: bool) -> None:
    count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    if not console.is_terminal:
        for name, problem in found:
            prefix = f"{path}: {name}: " if several and name else f"{path}: "
            console.print(prefix + str(problem), markup=False, soft_wrap=True)
        console.print(f"{path}: {count}", markup=False, soft_wrap=True)
        return
    table = Table("Field", "Problem", "Remedy", title=escape(f"{path}: {count}"), show_lines=True)
    for name, problem in found:
        field = f"{name}: {problem.field}" if several and name else problem.field
        table.add_row(escape(field), escape(problem.message), escape(problem.remedy))
    console.print(table)
