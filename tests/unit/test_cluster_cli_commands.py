"""The table of commands: what is quick, what goes where, and how it ends without a cluster."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from streampipeline.cli import app
from streampipeline.cluster.commands import _positional
from streampipeline.local.processes import free_port

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "status", "explain", "drill", "pin", "accept-loss", "suspend", "resume", "audit", "report", "backfill",
)  # fmt: skip
DLQ = ("list", "replay")


def kubeconfig(folder: Path, server: str) -> Path:
    cluster = {"name": "c", "cluster": {"server": server}}
    context = {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "hospital"}}
    users = [{"name": "u", "user": {"token": "secret-token"}}]
    file = folder / "kubeconfig"
    file.write_text(
        yaml.safe_dump(
            {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "users": users,
             "contexts": [context], "current-context": "here"}
        )
    )  # fmt: skip
    return file


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """A kubeconfig of an API server that is not there."""
    return kubeconfig(tmp_path, f"http://127.0.0.1:{free_port()}")


def test_help_needs_no_kubernetes_client() -> None:
    program = (
        "import sys; from typer.testing import CliRunner; from streampipeline.cli import app;"
        "r = CliRunner().invoke(app, ['--help']); assert r.exit_code == 0, r.output;"
        "heavy = {'kubernetes', 'polars', 'yaml', 'pydantic'} & set(sys.modules); assert not heavy, heavy;"
        "print(r.output)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "jobs")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in ("validate", "run", *COMMANDS))
    assert "Exit codes of every command: 0 done and right" in " ".join(done.stdout.split())


def test_every_command_on_a_cluster_takes_the_same_options() -> None:
    from typer.main import get_command

    table = get_command(app).commands  # type: ignore[attr-defined]
    shared = {"--namespace", "-n", "--context", "--kubeconfig", "--output", "-o"}
    every = {name: table[name] for name in COMMANDS} | dict(table["dlq"].commands)
    assert set(DLQ) < set(every)
    for name, command in every.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert shared <= options, name


def arguments(command: str) -> list[str]:
    span = ["--from", "2026-01-01T00:00:00Z", "--to", "1h"]
    more = {"pin": ["dask"], "accept-loss": ["--reason", "why"], "backfill": span}
    return [*(["dlq"] if command in DLQ else []), command, "nurse", *more.get(command, [])]


@pytest.mark.parametrize("command", [*COMMANDS, *DLQ])
def test_a_server_that_does_not_answer_is_exit_code_2_in_one_line(command: str, nowhere: Path) -> None:
    done = CliRunner().invoke(app, [*arguments(command), "--kubeconfig", str(nowhere)])
    assert done.exit_code == 2
    assert done.output.startswith("streampipeline: the API server at http://127.0.0.1:")
    assert len(done.output.splitlines()) == 1
    assert "secret-token" not in done.output


def test_a_context_that_is_not_there_is_named_with_those_that_are(nowhere: Path) -> None:
    done = CliRunner().invoke(app, ["status", "--kubeconfig", str(nowhere), "--context", "there"])
    assert (done.exit_code, done.output) == (
        2,
        "streampipeline: the kubeconfig has no context there; it has here\n",
    )


def test_no_kubeconfig_is_exit_code_2(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["status", "--kubeconfig", str(tmp_path / "none")])
    assert done.exit_code == 2
    assert "no kubeconfig that can be used" in done.output


@pytest.mark.parametrize(
    "wrong",
    [
        ["pin", "nurse", "spark"],
        ["status", "-o", "xml"],
        ["drill"],
        ["audit"],
        ["accept-loss", "nurse"],
        ["backfill", "nurse", "--from", "2h"],
        ["backfill", "nurse", "--from", "yesterday", "--to", "1h"],
        ["backfill", "nurse", "--from", "2026-01-01T00:00:00", "--to", "1h"],
        ["dlq", "list", "nurse", "--limit", "0"],
        ["dlq", "replay", "nurse", "--since", "2 hours"],
    ],
)
def test_wrong_usage_is_exit_code_2(wrong: list[str]) -> None:
    assert CliRunner().invoke(app, wrong).exit_code == 2


def test_an_audit_of_a_file_goes_to_the_audit_of_one_machine_with_all_options() -> None:
    arguments = ["--token-file", "t", "jobs/1-flink.json", "-o", "json"]
    command = [sys.executable, "-m", "streampipeline.cli", "audit", *arguments]
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'jobs'}{os.pathsep}{ROOT / 'audit'}"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "The audit could not be made" in done.stderr
    assert "cannot be read" in done.stderr


@pytest.mark.parametrize("command", [*DLQ, "backfill"])
def test_a_file_is_for_this_machine(command: str, tmp_path: Path) -> None:
    file = tmp_path / "1-flink.json"
    line = arguments(command)
    line[line.index("nurse")] = str(file)
    assert "1-flink.json cannot be read" in CliRunner().invoke(app, line).output
    file.write_text("{}")
    done = CliRunner().invoke(app, line)
    assert (done.exit_code, "is no job's file" in done.output) == (2, True)


def test_the_name_of_a_pipeline_is_told_from_a_file() -> None:
    assert _positional(["--kubeconfig", "/a/b.json", "nurse", "-n", "x/y", "--timeout=5"]) == ["nurse"]


def test_kubectl_finds_its_plugin(tmp_path: Path) -> None:
    plugin = ROOT / "bin" / "kubectl-streampipeline"
    assert plugin.stat().st_mode & stat.S_IXUSR
    linked = tmp_path / "kubectl-streampipeline"
    linked.symlink_to(plugin)
    env = {**os.environ, "STREAMPIPELINE_RUNTIME": str(Path(sys.executable).parents[2])}
    done = subprocess.run([str(linked), "--help"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "accept-loss" in done.stdout
