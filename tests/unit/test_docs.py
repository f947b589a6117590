"""The documents: what they point at is there, and what the product says is explained."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from streampipeline.api import controls
from streampipeline.api.spec import GROUP
from streampipeline_operator.settings import IMAGES

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDERS = [
    path for path in CHECKOUT.iterdir() if path.is_dir() and path.name[0] != "." and path.name != "build"
]
DOCUMENTS = sorted([*CHECKOUT.glob("*.md"), *(each for folder in FOLDERS for each in folder.rglob("*.md"))])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SPOKEN = (CHECKOUT / "jobs/streampipeline/decide", CHECKOUT / "operator/streampipeline_operator")
REASONS = (
    r'\.say\(\s*"(\w+)"',
    r'\.enter\(\s*[\w.]+,\s*"(\w+)"',
    r'_tell\(\s*"(\w+)"',
    r'_refuse\(\s*"(\w+)"',
    r'NotResolved\(\s*"(\w+)"',
    r"(?:TRUE|FALSE|UNKNOWN), \"(\w+)\"",
)


def anchors(document: Path) -> set[str]:
    """Names that a heading of the document can be reached by, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", LINK.sub("", text)).lower().replace(" ", "-") for text in headings}


def text_of(*names: str) -> str:
    """The text of documents in docs/."""
    return "\n".join((CHECKOUT / "docs" / name).read_text() for name in names)


def test_there_are_documents() -> None:
    assert {"README.md", "docs/operations.md"} <= {str(each.relative_to(CHECKOUT)) for each in DOCUMENTS}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_what_a_document_links_to_is_there(document: Path) -> None:
    broken = []
    for target in LINK.findall(CODE.sub("", document.read_text())):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        found = (document.parent / path).resolve() if path else document
        if not found.exists() or (anchor and found.suffix == ".md" and anchor not in anchors(found)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_a_command_that_a_document_gives_is_there(document: Path) -> None:
    text = document.read_text()
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    # In code only: in prose "make" is a word.
    named = set(re.findall(r"(?:`|^    |^)make ([a-z][a-z0-9-]*)", text, re.MULTILINE))
    assert named - targets - {"the"} == set()
    scripts = set(re.findall(r"\bhack/[\w/-]+\.py\b", text))
    assert [script for script in scripts if not (CHECKOUT / script).exists()] == []


def test_every_reason_that_is_given_is_explained() -> None:
    code = "\n".join(path.read_text() for folder in SPOKEN for path in folder.glob("*.py"))
    reasons = {reason for pattern in REASONS for reason in re.findall(pattern, code)}
    assert {"FallbackTriggered", "NamespaceNotGranted", "ChildRepaired", "NoTokens"} <= reasons
    explained = set(re.findall(r"`(\w+)`", text_of("operations.md")))
    assert reasons - explained == set()


def test_metrics_are_those_that_are_documented() -> None:
    # In a process of its own: other parts of the product have metrics too, and share the registry.
    listed = "import streampipeline_operator.main; from prometheus_client import REGISTRY; "
    listed += "print(*(metric.name for metric in REGISTRY.collect()))"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT / "jobs"), str(CHECKOUT / "operator")]),
    }
    printed = subprocess.run(
        [sys.executable, "-c", listed], capture_output=True, text=True, check=True, env=environment
    ).stdout
    there = {name for name in printed.split() if name.startswith("streampipeline_")}
    named = re.findall(r"streampipeline_\w+", text_of("operations.md"))
    assert {re.sub("_(total|count)$", "", name) for name in named} == there


def test_annotations_and_the_operators_environment_are_documented() -> None:
    operations, contracts = text_of("operations.md"), text_of("contracts.md")
    for key in (controls.PIN_ENGINE, controls.DRILL, controls.ACCEPT_LOSS, controls.AUDIT):
        assert f"`{key}`" in operations
    names = (CHECKOUT / "operator/streampipeline_operator/names.py").read_text()
    for key in re.findall(r'f"\{GROUP\}(/[a-z]+)"', names):
        assert f"`{GROUP}{key}`" in contracts
    settings = (CHECKOUT / "operator/streampipeline_operator/settings.py").read_text()
    images = {f"STREAMPIPELINE_IMAGE_{name.upper().replace('-', '_')}" for name in IMAGES}
    section = contracts.partition("## Environment of the operator")[2]
    for variable in set(re.findall(r'"(STREAMPIPELINE_[A-Z_]*[A-Z]|POD_[A-Z]+)"', settings)):
        assert f"`{variable}`" in section
    for variable in images:
        assert variable.removeprefix("STREAMPIPELINE_IMAGE") in section


def test_every_direct_dependency_has_a_reason() -> None:
    lists = "\n".join(path.read_text() for path in (CHECKOUT / "requirements").glob("*.in"))
    packages = set(re.findall(r"^([a-z][\w.-]*)", lists, re.MULTILINE))
    assert {"kopf", "dask-kubernetes", "polars"} <= packages
    named = set(re.findall(r"[a-z][\w.-]*", text_of("dependencies.md")))
    assert packages - named == set()
    module = (CHECKOUT / "hack/kubernetes/go.mod").read_text()
    direct = re.findall(r"^\t(\S+) v\S+$", module.partition("\n)")[0], re.MULTILINE)
    tools = re.findall(r"^\t(\S+)$", module.partition("\ntool (")[2].partition("\n)")[0], re.MULTILINE)
    assert "k8s.io/kubernetes" in direct
    assert "sigs.k8s.io/kind" in tools
    assert [
        each
        for each in [*direct, *tools]
        if each.rpartition("/")[2] not in named and each not in text_of("dependencies.md")
    ] == []
