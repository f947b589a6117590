"""The cache that bootstrap fills, and the locks that it installs from."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import bootstrap
from toolchain import prerequisites
from toolchain.console import Console
from toolchain.store import BuildError, Job, Piece, Store, hash_of

CHECKOUT = Path(__file__).resolve().parents[2]
REQUIREMENTS = CHECKOUT / "requirements"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache", Console())


def write_text(job: Job) -> None:
    (job.folder / "text").write_text(job.name)


def test_a_piece_is_built_once(store: Store) -> None:
    built: list[str] = []
    piece = Piece("piece", ("1",), lambda job: built.append(job.name))
    store.install([piece])
    store.install([piece])
    assert built == ["piece"]


def test_a_piece_is_built_after_what_it_needs(store: Store) -> None:
    first = Piece("first", (), write_text)

    def build(job: Job) -> None:
        (job.folder / "copy").write_text((job.needs["first"] / "text").read_text())

    second = Piece("second", (), build, needs=(first,))
    store.install([second])
    assert (store.path(second) / "copy").read_text() == "first"


def test_the_key_follows_the_inputs_and_the_needs() -> None:
    one, two = Piece("need", ("1",), write_text), Piece("need", ("2",), write_text)
    keys = {one.key, two.key} | {Piece("piece", ("1",), write_text, needs=(need,)).key for need in (one, two)}
    assert len(keys) == 4
    assert one.key == Piece("need", ("1",), write_text).key


def test_a_failed_build_leaves_nothing_and_says_why(store: Store) -> None:
    def fail(job: Job) -> None:
        (job.folder / "half").write_text("")
        job.run([sys.executable, "-c", "print('the reason'); raise SystemExit(3)"])

    piece = Piece("piece", (), fail)
    with pytest.raises(BuildError, match=r"(?s)exit code 3.*the reason"):
        store.install([piece])
    assert not store.has(piece)


def test_a_failure_stops_what_runs_beside_it(store: Store) -> None:
    running = threading.Event()

    def wait(job: Job) -> None:
        running.set()
        job.run([sys.executable, "-c", "import time; time.sleep(600)"])

    def fail(_job: Job) -> None:
        running.wait()
        raise BuildError("the reason")

    slow, failing = Piece("slow", (), wait), Piece("failing", (), fail)
    with pytest.raises(BuildError, match="the reason"):
        store.install([slow, failing, Piece("later", (), write_text, needs=(slow,))])
    assert not store.has(slow)


def test_what_an_aborted_build_left_is_not_taken_for_whole(store: Store) -> None:
    piece = Piece("piece", (), write_text)
    leftover = store.root / "building/piece/aborted"
    leftover.mkdir(parents=True)
    (leftover / "half").write_text("")
    store.install([piece])
    assert [file.name for file in store.path(piece).iterdir()] == ["text"]
    assert not leftover.exists()


def test_two_builders_at_once_build_once(store: Store) -> None:
    built: list[str] = []
    together = threading.Barrier(2)

    def build(job: Job) -> None:
        built.append(job.name)
        write_text(job)

    def run(own: Store) -> None:
        together.wait()
        own.install([Piece("piece", (), build)])

    threads = [threading.Thread(target=run, args=(Store(store.root, Console()),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == ["piece"]


def test_a_hash_sees_content_and_names(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    hashes = set()
    for name, content in (("a", "1"), ("a", "2"), ("b", "2")):
        (folder / name).write_text(content)
        hashes.add(hash_of(folder))
    assert len(hashes) == 3


def test_links_are_made_and_moved(tmp_path: Path) -> None:
    for target in ("old", "new"):
        bootstrap.link(tmp_path / "runtime", {"venv": tmp_path / target})
        assert (tmp_path / "runtime/venv").readlink() == tmp_path / target
    assert [entry.name for entry in (tmp_path / "runtime").iterdir()] == ["venv"]


def test_a_missing_tool_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(prerequisites.MissingPrerequisiteError) as caught:
        prerequisites.require(["java", "mvn", "go"], Console())
    message = str(caught.value)
    assert "Java 17 or newer" in message
    assert "apt-get install --no-install-recommends golang-go maven openjdk-17-jdk-headless" in message
    assert "Go 1.19 or newer" in message


def test_an_old_tool_counts_as_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "java"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for version, works in (("11.0.2", False), ("17.0.15", True), ("21", True)):
        program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n")
        program.chmod(0o755)
        assert prerequisites.TOOLS["java"].works("java") is works


def versions(name: str) -> dict[str, str]:
    """Package to version, as locked in requirements/`name`.txt."""
    lines = (REQUIREMENTS / f"{name}.txt").read_text().splitlines()
    return dict(match.groups() for line in lines if (match := re.match(r"([a-z0-9._-]+)==(\S+)", line)))  # type: ignore[misc]


@pytest.mark.parametrize("name", ["local", "core", "model-server"])
def test_the_lists_agree_with_that_of_development(name: str) -> None:
    development, locked = versions("dev"), versions(name)
    assert locked
    assert {package: development.get(package) for package in locked} == locked


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_package_is_locked_by_hash_and_no_index_is_named(path: Path) -> None:
    text = path.read_text()
    entries = re.split(r"\n(?=[a-z0-9])", text)[1:]
    assert entries
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text


def test_each_list_has_its_source() -> None:
    assert {path.stem for path in REQUIREMENTS.glob("*.in")} == {
        path.stem for path in REQUIREMENTS.glob("*.txt")
    }


def test_jars_of_the_poms_are_locked() -> None:
    for name, jar in (("kafka", "kafka_2.13-4.1.0.jar"), ("flink", "flink-sql-gateway-2.2.1.jar")):
        lines = (CHECKOUT / f"hack/{name}/jars.sha256").read_text().splitlines()
        assert all(re.fullmatch(r"[0-9a-f]{64}  \S+\.jar", line) for line in lines)
        assert any(line.endswith(f"  {jar}") for line in lines)


def test_bootstrap_needs_the_standard_library_only() -> None:
    command = [sys.executable, "-E", "-S", "hack/bootstrap.py", "--help"]
    answer = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "--with" in answer.stdout
