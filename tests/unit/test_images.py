"""The Dockerfile, the list of images, what decides over a tag, and what a build is told of the network."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from toolchain import build_network, images
from toolchain.store import BuildError

CHECKOUT = Path(__file__).resolve().parents[2]
DOCKERFILE = (CHECKOUT / "Dockerfile").read_text()
STAGES = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL))
NAMES = [image.name for image in images.IMAGES]
INNER = {"base", "java", "installer", "arrow", "numeric", "control"}


def test_each_stage_is_an_image_or_known_as_shared() -> None:
    assert sorted(STAGES) == sorted([*NAMES, *INNER])


@pytest.mark.parametrize("name", NAMES)
def test_an_image_runs_as_the_user_that_the_base_makes(name: str) -> None:
    assert re.findall(r"^USER (.*)$", STAGES[name], re.MULTILINE) == ["10001:10001"]
    assert "--uid 10001" in STAGES["base"]


@pytest.mark.parametrize("name", NAMES)
def test_an_image_says_what_it_runs(name: str) -> None:
    assert len(re.findall(r'^CMD \["', STAGES[name], re.MULTILINE)) == 1


def test_no_image_is_taken_without_a_version() -> None:
    bases = re.findall(r"^FROM (\S+) AS", DOCKERFILE, re.MULTILINE)
    outside = {base for base in bases if base not in STAGES}
    assert outside == {"${BASE}"}
    assert re.search(r"^ARG BASE=\S+:\S+$", DOCKERFILE, re.MULTILINE)
    named = [image.upstream for image in images.IMAGES if image.upstream]
    named += re.findall(r"image: (\S+)", (CHECKOUT / "samples/kafka.yaml").read_text())
    assert all(":" in name and not name.endswith(":latest") for name in named)


def test_the_installer_and_its_packages_are_in_no_image() -> None:
    for name in [*NAMES, *INNER - {"installer"}]:
        chain = [name]
        while (base := re.search(rf"^FROM (\S+) AS {chain[-1]}$", DOCKERFILE, re.MULTILINE)) is not None:
            if base.group(1) not in STAGES:
                break
            chain.append(base.group(1))
        assert "installer" not in chain
        assert not re.search(r"gcc|-jdk|python3-(dev|venv|pip)", "".join(STAGES[stage] for stage in chain))


def pins(name: str) -> dict[str, str]:
    text = (CHECKOUT / f"requirements/{name}.txt").read_text()
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", ["dask", "dask-operator", "model-server", "operator"])
def test_a_list_replaces_nothing_of_the_layers_below(name: str) -> None:
    below = {"dask-operator": ["operator"], "operator": ["arrow"]}.get(name, ["arrow", "numeric"])
    for other in below:
        shared = pins(other).keys() & pins(name).keys()
        assert shared
        assert {package: pins(name)[package] for package in shared} == {
            package: pins(other)[package] for package in shared
        }


def test_secrets_are_readable_and_never_required() -> None:
    mounts = re.findall(r"--mount=type=secret,(\S+)", DOCKERFILE)
    assert mounts
    for mount in mounts:
        assert re.fullmatch(r"id=(network|ca-certificates|apt\.conf),mode=0444", mount)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_recipe_copies_is_there_or_a_part(name: str) -> None:
    recipe = images.recipe(DOCKERFILE, name)
    parts = images.parts_of(CHECKOUT, recipe)
    for source in recipe.sources:
        if source.startswith(images.PARTS):
            assert source.split("/")[2] in parts
        else:
            assert (CHECKOUT / source).exists()


def test_a_recipe_has_the_stages_that_it_stands_on_and_no_others() -> None:
    dask = images.recipe(DOCKERFILE, "dask")
    assert "FROM arrow AS numeric" in dask.text
    assert "FROM base AS arrow" in dask.text
    assert "FROM base AS installer" in dask.text
    assert "openjdk" not in dask.text
    assert {"jobs", "audit", "requirements/dask.txt", "requirements/numeric.txt"} <= set(dask.sources)
    assert not {"operator", "requirements/flink.txt"} & set(dask.sources)


def test_a_recipe_of_an_unknown_image_is_refused() -> None:
    with pytest.raises(BuildError, match="nothing"):
        images.recipe(DOCKERFILE, "nothing")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout that may be changed."""
    for path in ("Dockerfile", ".dockerignore"):
        shutil.copy(CHECKOUT / path, tmp_path)
    for path in ("requirements", "hack", "flink-decoder", "jobs", "audit", "model-server/models"):
        shutil.copytree(CHECKOUT / path, tmp_path / path, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_a_reference_follows_what_is_in_the_image(copy: Path) -> None:
    before = {name: images.reference(copy, name) for name in ("dask", "influxdb", "kafka")}
    assert before["dask"].startswith("streampipeline/dask:")
    (copy / "audit/streampipeline_audit/core.py").write_text("")
    changed = [name for name in before if images.reference(copy, name) != before[name]]
    assert changed == ["dask"]


def test_a_reference_follows_the_parts_that_are_built_elsewhere(copy: Path) -> None:
    before = {name: images.reference(copy, name) for name in ("dask", "influxdb", "kafka")}
    (copy / "hack/kafka/jars.sha256").write_text("")
    changed = [name for name in before if images.reference(copy, name) != before[name]]
    assert changed == ["kafka"]


def test_a_reference_ignores_bytecode_and_comments(copy: Path) -> None:
    before = images.reference(copy, "dask")
    cache = copy / "jobs/streampipeline/__pycache__"
    cache.mkdir()
    (cache / "kafka.cpython-311.pyc").write_bytes(b"x")
    (copy / "Dockerfile").write_text(f"# Another word.\n{DOCKERFILE}")
    assert images.reference(copy, "dask") == before


def test_a_manifest_is_pinned_to_what_was_built() -> None:
    manifest = "image: apache/kafka:4.1.0\nimage: streampipeline/dask:dev\nimage: influxdb:2.7.12\n"
    built = {"kafka": "streampipeline/kafka:1", "dask": "streampipeline/dask:2", "influxdb": "x:3"}
    expected = "image: streampipeline/kafka:1\nimage: streampipeline/dask:2\nimage: influxdb:2.7.12\n"
    assert images.pinned(manifest, built) == expected
    assert images.pinned(manifest, {}) == manifest


def test_the_sample_broker_uses_images_of_the_list() -> None:
    text = images.pinned(
        (CHECKOUT / "samples/kafka.yaml").read_text(), {name: f"pinned/{name}:1" for name in NAMES}
    )
    documents = [document for document in yaml.safe_load_all(text) if "template" in document.get("spec", {})]
    found = [
        container["image"]
        for document in documents
        for container in document["spec"]["template"]["spec"]["containers"]
    ]
    assert found == ["pinned/kafka:1", "pinned/dask:1"]


def test_certificates_are_handed_over_only_where_there_are_own_ones(tmp_path: Path) -> None:
    added, system = tmp_path / "added", tmp_path / "bundle.crt"
    added.mkdir()
    system.write_text("pem")
    assert build_network.ca_bundle({}, added, system) is None
    (added / "company.crt").write_text("pem")
    assert build_network.ca_bundle({}, added, system) == system
    named = tmp_path / "named.crt"
    named.write_text("pem")
    assert build_network.ca_bundle({"SSL_CERT_FILE": str(named)}, added, system) == named
    assert build_network.ca_bundle({"SSL_CERT_FILE": str(tmp_path / "none")}, added, system) == system


def test_an_index_is_handed_to_pip_and_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    assert build_network.python_variables({"UV_HTTP_TIMEOUT": "300"}) == {}
    index = "https://mirror.example/simple"
    found = build_network.python_variables({"UV_DEFAULT_INDEX": index})
    assert found == {"UV_DEFAULT_INDEX": index, "PIP_INDEX_URL": index}


def test_of_apt_only_how_to_reach_archives_is_handed_over() -> None:
    dump = (
        'APT::Architecture "amd64";\nAcquire::cdrom::mount "/media/cdrom/";\n'
        'Acquire::http::Proxy "http://proxy.example:3128";\nAcquire::Check-Date "false";\nDir "/";\n'
    )
    kept = 'Acquire::http::Proxy "http://proxy.example:3128";\nAcquire::Check-Date "false";\n'
    assert build_network.apt_settings(dump) == kept
