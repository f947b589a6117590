"""`streampipeline validate FILE` as a user sees it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from streampipeline.api.cli_validate import validate_file

SAMPLE = Path(__file__).parents[2] / "samples" / "nurse-stress.yaml"
LATENCY = "must be below latencySeconds (15), is 20; set it to at most 14"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    file = tmp_path / "broken.yaml"
    file.write_text(SAMPLE.read_text().replace("resumeLatencySeconds: 8", "resumeLatencySeconds: 20"))
    return file


def test_a_fine_file_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert validate_file(SAMPLE) == 0
    assert capsys.readouterr().out == f"{SAMPLE}: fine (nurse-stress)\n"


def test_problems_are_lines_when_there_is_no_terminal(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert validate_file(broken) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{broken}: spec.failover.resumeLatencySeconds: {LATENCY}",
        f"{broken}: 1 problem",
    ]


def test_problems_are_a_table_on_a_terminal(broken: Path) -> None:
    broken.write_text(broken.read_text().replace("function: Mean}", "function: Mean, q: [1]}", 1))
    screen = io.StringIO()
    assert validate_file(broken, console=Console(file=screen, force_terminal=True, width=200)) == 1
    assert "spec.aggregates[0].q" in screen.getvalue()
    assert "Remedy" in screen.getvalue()


def test_json_has_every_problem(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate_file(broken, output="json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["valid"] is False
    assert answer["pipelines"] == ["nurse-stress"]
    assert answer["problems"] == [
        {
            "pipeline": "nurse-stress",
            "field": "spec.failover.resumeLatencySeconds",
            "message": "must be below latencySeconds (15), is 20",
            "remedy": "set it to at most 14",
        }
    ]


def test_all_pipelines_of_a_file_are_checked(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = broken.read_text()
    second = (
        text.split("---\n")[1]
        .replace("name: nurse-stress\n", "name: second\n")
        .replace("sizeSeconds: 5", "sizeSeconds: 0")
    )
    broken.write_text(f"{text}---\n{second}")
    assert validate_file(broken, output="json") == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert [(problem["pipeline"], problem["field"].split(".")[1]) for problem in problems] == [
        ("nurse-stress", "failover"),
        ("second", "window"),
        ("second", "failover"),
    ]


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate_file(tmp_path / "none.yaml") == 1
    assert "cannot be read: No such file" in capsys.readouterr().out


def test_the_environment_is_checked_when_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert validate_file(SAMPLE, environ={"STREAMPIPELINE_FAILOVER_LATENCY_SECONDS": "8"}) == 1
    assert validate_file(SAMPLE, environ={"STREAMPIPELINE_FAILOVER_LATENC_SECONDS": "8"}) == 1
    assert "did you mean STREAMPIPELINE_FAILOVER_LATENCY_SECONDS?" in capsys.readouterr().out
