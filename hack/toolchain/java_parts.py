"""What runs on the JVM: Kafka, Flink with its connectors, and our decoder, all fetched and built by Maven."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from toolchain.store import BuildError, Job, Piece, hash_of

_MAVEN = ("mvn", "-q", "-B", "-Dstyle.color=never", "--strict-checksums")
_RECIPE = hash_of(Path(__file__))


def kafka(hack: Path) -> Piece:
    """The broker: `libs/*.jar` and `config/log4j2.properties`; start it with both on the class path."""
    source = hack / "kafka"

    def build(job: Job) -> None:
        copy_jars(job, source, job.folder / "libs")
        config = job.folder / "config"
        config.mkdir()
        shutil.copy(source / "log4j2.properties", config)

    return Piece("kafka", (_RECIPE, hash_of(source)), build, tools=("java", "mvn"))


def flink_jars(hack: Path) -> Piece:
    """The jars that the Flink distribution lacks: the Kafka connector and the SQL gateway."""
    source = hack / "flink"
    return Piece(
        "flink-jars",
        (_RECIPE, hash_of(source)),
        lambda job: copy_jars(job, source, job.folder),
        tools=("java", "mvn"),
    )


def flink_decoder(checkout: Path) -> Piece:
    """Our decoder, `flink-decoder.jar`, built from a copy of its sources so that the checkout stays clean."""
    source = checkout / "flink-decoder"
    sources = [source / "pom.xml", source / "src/main"]

    def build(job: Job) -> None:
        copy = job.folder / "build"
        shutil.copytree(source / "src/main", copy / "src/main")
        shutil.copy(source / "pom.xml", copy)
        with job.store.lock("maven"):
            job.run([*_MAVEN, "-Dmaven.test.skip", "package"], cwd=copy)
        shutil.copy(copy / "target/flink-decoder.jar", job.folder)
        shutil.rmtree(copy)

    return Piece("flink-decoder", (_RECIPE, hash_of(*sources)), build, tools=("java", "javac", "mvn"))


def flink_home(venv: Piece, jars: Piece, decoder: Piece) -> Piece:
    """A FLINK_HOME on top of the distribution inside the PyFlink wheel.

    `bin` is a copy, because its scripts look for their home where they really lie; `lib`, `opt` and `plugins`
    are folders of links, because what is in them is large.
    """

    def build(job: Job) -> None:
        wheel = job.needs[venv.name] / "lib/python3.11/site-packages/pyflink"
        for name in ("bin", "conf"):
            shutil.copytree(wheel / name, job.folder / name)
        for script in (job.folder / "bin").glob("*.sh"):
            script.chmod(0o755)
        for name in ("lib", "opt", "plugins"):
            (job.folder / name).mkdir()
            for entry in sorted((wheel / name).iterdir()):
                (job.folder / name / entry.name).symlink_to(entry)
        (job.folder / "log").mkdir()
        for jar in [*(wheel / "opt").glob("flink-python*.jar"), *job.needs[decoder.name].glob("*.jar")]:
            (job.folder / "lib" / jar.name).symlink_to(jar)
        for jar in job.needs[jars.name].glob("*.jar"):
            place = "opt" if jar.name.startswith("flink-sql-gateway") else "lib"
            (job.folder / place / jar.name).symlink_to(jar)

    return Piece("flink", (_RECIPE,), build, needs=(venv, jars, decoder))


def copy_jars(job: Job, source: Path, libs: Path) -> None:
    """Fill `libs` with the dependencies of `source`/pom.xml, held against `source`/jars.sha256.

    Raises:
        BuildError: a jar differs, is missing or was not expected.
    """
    fetch_jars(job, source, libs)
    listed = (source / "jars.sha256").read_text()
    found = checksums(libs)
    if listed != found:
        differing = "\n".join(sorted(set(listed.splitlines()) ^ set(found.splitlines())))
        raise BuildError(f"{job.name}: not the jars of {source / 'jars.sha256'} (`make lock`):\n{differing}")


def fetch_jars(job: Job, source: Path, libs: Path) -> None:
    """Let Maven copy the dependencies of `source`/pom.xml to `libs`."""
    job.say("downloading jars")
    with job.store.lock("maven"):  # Maven 3 does not guard its own repository against a second Maven
        goal = ("dependency:copy-dependencies", f"-DoutputDirectory={libs}")
        job.run([*_MAVEN, "-f", source / "pom.xml", *goal])


def checksums(libs: Path) -> str:
    """The jars in a folder as `sha256sum` prints them, sorted by name."""
    jars = sorted(libs.glob("*.jar"))
    return "".join(f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}\n" for jar in jars)
