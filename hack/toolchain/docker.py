"""The `docker` client: which one, which daemon, and the few things that are asked of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEBIAN_CLIENT = "/usr/bin/docker"


class DockerError(Exception):
    """A docker command failed; the message ends with what it printed."""


@dataclass(frozen=True)
class Docker:
    """A Docker daemon, as one client sees it.

    Args:
        client: the `docker` program.
        host: the daemon's address (`DOCKER_HOST`); None is what the environment and docker's contexts say.
    """

    client: str
    host: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What programs that call `docker` themselves (kind) need to find this client and this daemon."""
        path = f"{Path(self.client).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {"PATH": path, "DOCKER_BUILDKIT": "1"} | ({"DOCKER_HOST": self.host} if self.host else {})

    @property
    def full_environment(self) -> dict[str, str]:
        """The whole environment for such programs."""
        return {**os.environ, **self.environment}

    def run(self, *arguments: str | Path, stdin: str | None = None, timeout: float | None = None) -> str:
        """Run `docker ARGUMENTS`; return its standard output.

        Raises:
            DockerError: it failed or took longer than `timeout` seconds.
        """
        try:
            answer = subprocess.run(
                [self.client, *map(str, arguments)],
                input=stdin,
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout,
                env=self.full_environment,
            )
        except subprocess.TimeoutExpired:
            raise DockerError(f"docker {arguments[0]}: no answer within {timeout:g} s") from None
        if answer.returncode:
            raise DockerError(f"docker {arguments[0]} failed: {answer.stdout[-2000:]}{answer.stderr[-2000:]}")
        return answer.stdout

    def answers(self) -> bool:
        """Whether the daemon can be reached."""
        try:
            self.run("version", "--format", "{{.Server.Version}}", timeout=10)
        except DockerError:
            return False
        return True

    def inspect(self, kind: str, name: str) -> dict[str, Any] | None:
        """What docker knows of the container, image or network called `name`; None if there is none."""
        try:
            found: list[dict[str, Any]] = json.loads(self.run(kind, "inspect", name))
        except DockerError as error:
            if "no such" in str(error).lower() or "not found" in str(error).lower():
                return None
            raise
        return found[0]

    def image_id(self, tag: str) -> str | None:
        """The id of an image (`sha256:` and 64 digits); None if the daemon does not have it."""
        found = self.inspect("image", tag)
        return str(found["Id"]) if found else None

    def build(
        self,
        context: Path,
        *tags: str,
        dockerfile: Path | None = None,
        target: str | None = None,
        arguments: Mapping[str, str] | None = None,
        secrets: Mapping[str, Path] | None = None,
        log: Path | None = None,
    ) -> str:
        """Build an image with BuildKit and return its id.

        Args:
            context: the folder that the Dockerfile copies from.
            tags: the names of the image, at least one.
            dockerfile: where it is, `Dockerfile` in the context by default.
            target: the stage to build, the last by default.
            arguments: build arguments. They stay in the image's history: no secrets.
            secrets: files for `RUN --mount=type=secret,id=NAME`, of which nothing stays.
            log: a file for the build's output, overwritten.

        Raises:
            DockerError: the build failed.
        """
        command = ["build", "--progress", "plain"]
        command += [word for tag in tags for word in ("--tag", tag)]
        command += ["--file", str(dockerfile)] if dockerfile else []
        command += ["--target", target] if target else []
        for name, value in (arguments or {}).items():
            command += ["--build-arg", f"{name}={value}"]
        for name, path in (secrets or {}).items():
            command += ["--secret", f"id={name},src={path}"]
        self._logged([*command, str(context)], log)
        built = self.image_id(tags[0])
        assert built is not None
        return built

    def _logged(self, command: Sequence[str], log: Path | None) -> None:
        answer = subprocess.run(
            [self.client, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=self.full_environment,
        )
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(answer.stdout)
        if answer.returncode:
            raise DockerError(f"docker {command[0]} failed:\n{answer.stdout[-4000:]}")


def client() -> str | None:
    """The `docker` program to use: one that can build with BuildKit, as far as there is one.

    From version 23 on, a client needs its plugin buildx for that; Debian's is older and does it by itself.
    """
    for candidate in (shutil.which("docker"), DEBIAN_CLIENT):
        if candidate and Path(candidate).exists() and _builds(candidate):
            return candidate
    return shutil.which("docker")


def _builds(program: str) -> bool:
    def output(*words: str) -> str:
        return subprocess.run([program, *words], capture_output=True, text=True, check=False).stdout

    version = output("version", "--format", "{{.Client.Version}}").strip()
    major = version.partition(".")[0]
    return (major.isdigit() and int(major) < 23) or "buildx" in output("buildx", "version")
