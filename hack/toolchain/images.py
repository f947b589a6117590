"""The images: which there are, what each is made from, and their builds.

An image's tag is a hash over what its stages in the Dockerfile say and copy. An image that has its tag is
therefore up to date, and is not built again.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain import base_image, build_network, influxd, java_parts, prerequisites
from toolchain.docker import Docker, DockerError
from toolchain.store import BuildError, Piece, Store

REPOSITORY = "streampipeline"
ALIAS = "dev"
"""A second tag of each image: the newest that was built here."""
PARTS = "build/image-context"
"""Where the Dockerfile finds what was built outside of it."""
PULL_SECONDS = 60


@dataclass(frozen=True)
class Image:
    """An image, named as its stage in the Dockerfile; `upstream` serves as well, where it can be pulled."""

    name: str
    upstream: str | None = None

    @property
    def alias(self) -> str:
        """The reference that follows the newest build."""
        return f"{REPOSITORY}/{self.name}:{ALIAS}"


IMAGES = (
    Image("dask"),
    Image("flink"),
    Image("model-server"),
    Image("operator"),
    Image("dask-operator"),
    Image("influxdb", upstream="influxdb:2.7"),
    Image("kafka", upstream="apache/kafka:4.1.0"),
)


@dataclass(frozen=True)
class Recipe:
    """The text of all stages that an image is built from, without comments, and the paths that they copy."""

    text: str
    sources: tuple[str, ...]


def recipe(dockerfile: str, target: str) -> Recipe:
    """What decides over the image called `target`.

    Raises:
        BuildError: there is no such stage.
    """
    lines = [line for line in dockerfile.splitlines() if line and not line.startswith("#")]
    head, *rest = re.split(r"^(?=FROM )", "\n".join(lines), flags=re.MULTILINE)
    stages = {stage.split(" AS ", 1)[1].split("\n", 1)[0]: stage for stage in rest}
    if target not in stages:
        raise BuildError(f"images: the Dockerfile has no stage {target!r}")
    wanted = [target]
    for name in wanted:  # grows while it is read
        used = re.findall(r"(?:^FROM |\bfrom=)([^\s,]+)", stages[name], re.MULTILINE)
        wanted += [stage for stage in used if stage in stages and stage not in wanted]
    text = head + "".join(stages[name] for name in sorted(wanted))
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    return Recipe(text, tuple(sorted({source for copy in copies for source in copy.split()})))


def parts(checkout: Path) -> dict[str, Piece]:
    """What Maven, Go and Rust build, by its folder's name in `PARTS`."""
    hack = checkout / "hack"
    pieces = (
        influxd.influxd(hack),
        java_parts.kafka(hack),
        java_parts.flink_jars(hack),
        java_parts.flink_decoder(checkout),
    )
    return {piece.name: piece for piece in pieces}


def parts_of(checkout: Path, made_from: Recipe) -> dict[str, Piece]:
    """The parts that an image copies."""
    known = parts(checkout)
    inside = [source.removeprefix(f"{PARTS}/") for source in made_from.sources if source.startswith(PARTS)]
    return {name: known[name] for name in sorted({path.split("/")[0] for path in inside})}


def reference(checkout: Path, name: str) -> str:
    """The reference of an image that is up to date, `streampipeline/<name>:<hash>`."""
    made_from = recipe((checkout / "Dockerfile").read_text(), name)
    digest = hashlib.sha256(made_from.text.encode())
    digest.update((checkout / ".dockerignore").read_bytes() + base_image.base().key.encode())
    for part in parts_of(checkout, made_from).values():
        digest.update(part.key.encode())
    for source in made_from.sources:
        if not source.startswith(PARTS):
            for file in _files(checkout / source):
                content = file.read_bytes()
                digest.update(f"{file.relative_to(checkout)}\0{len(content)}\0".encode() + content)
    return f"{REPOSITORY}/{name}:{digest.hexdigest()[:12]}"


def _files(path: Path) -> Iterator[Path]:
    """What `.dockerignore` lets through of a path of the checkout."""
    if path.is_file():
        yield path
    for file in sorted(path.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc":
            yield file


def build_all(docker: Docker, store: Store, checkout: Path, names: Collection[str] = ()) -> dict[str, str]:
    """Build the images that are missing (all, or those in `names`) and point the alias of each at it.

    Returns:
        The reference of each image by its name.

    Raises:
        BuildError: one could not be built; the message ends with the last lines of its log.
        DockerError: the daemon refused something else.
        MissingPrerequisiteError: a tool for one of the parts is missing.
    """
    images = [image for image in IMAGES if not names or image.name in names]
    references = {image.name: reference(checkout, image.name) for image in images}
    with store.lock("images"), tempfile.TemporaryDirectory() as folder:
        missing = [image for image in images if docker.image_id(references[image.name]) is None]
        if missing:
            _base(docker, store)
        _stage(store, checkout, missing)
        secrets = build_network.secrets(store, checkout, Path(folder)) if missing else {}
        for image in images:
            if image in missing:
                _build(docker, store, checkout, image, references[image.name], secrets)
            docker.run("tag", references[image.name], image.alias)
    return references


def _base(docker: Docker, store: Store) -> None:
    """Have the image that all others stand on: pulled, or where that fails made of Debian's packages."""
    present = docker.inspect("image", base_image.TAG)
    if present is None:
        store.console.say("images", f"pulling {base_image.TAG}")
        try:
            docker.run("pull", base_image.TAG, timeout=PULL_SECONDS)
        except DockerError:
            store.console.say("images", "not to be had: it is put together from Debian's packages")
        else:
            return
    elif base_image.LABEL not in (present["Config"].get("Labels") or {}):
        return
    piece = base_image.base()
    _install(store, [piece])
    base_image.load(docker, store, piece)


def _build(
    docker: Docker, store: Store, checkout: Path, image: Image, tag: str, secrets: Mapping[str, Path]
) -> None:
    # Through the store and not `Docker.build`: these builds take minutes, and it tells how they get on.
    name = f"image-{image.name}"
    started = store.console.seconds
    store.console.say(name, "building")
    command = [docker.client, "build", "--progress=plain", "--target", image.name, "--tag", tag]
    command += [f"--secret=id={secret},src={path}" for secret, path in secrets.items()]
    store.run(name, [*command, "."], cwd=checkout, env=docker.environment)
    store.console.say(name, f"{tag} after {store.console.seconds - started:.1f} s")


def _stage(store: Store, checkout: Path, images: Collection[Image]) -> None:
    """Build the parts of `images` and put them where the Dockerfile finds them: as links, they are large."""
    dockerfile = (checkout / "Dockerfile").read_text()
    wanted: dict[str, Piece] = {}
    for image in images:
        wanted |= parts_of(checkout, recipe(dockerfile, image.name))
    _install(store, list(wanted.values()))
    for name, piece in wanted.items():
        place = checkout / PARTS / name
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(store.path(piece), place, copy_function=_link)


def _install(store: Store, pieces: Sequence[Piece]) -> None:
    missing = store.missing(pieces)
    prerequisites.require([tool for piece in missing for tool in piece.tools], store.console, install=True)
    store.install(pieces)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def pinned(manifest: str, references: Mapping[str, str]) -> str:
    """A manifest with the images that were built in place of aliases and of what would be pulled."""
    for image in IMAGES:
        for name in filter(None, (image.alias, image.upstream)):
            # Whole references only: `influxdb:2.7` is not the beginning of `influxdb:2.7.12`.
            found = rf"(?<![\w./-]){re.escape(name)}(?![\w.-])"
            manifest = re.sub(found, references.get(image.name, name), manifest)
    return manifest


def save(docker: Docker, references: Mapping[str, str], folder: Path) -> Path:
    """Write all images into one archive, for `docker load` or `ctr images import` without a network.

    Layers that images share are in it once. Beside it, `images.txt` lists the references.
    """
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / "streampipeline-images.tar"
    docker.run("save", "--output", str(archive), *references.values())
    (folder / "images.txt").write_text("".join(f"{name}\n" for name in references.values()))
    return archive
