"""`debian:bookworm-slim` without a registry of images: Debian's packages, put together under that name."""

from __future__ import annotations

import os

from toolchain.docker import Docker
from toolchain.store import Job, Piece, Store

TAG = "debian:bookworm-slim"
SUITE = "bookworm"
REVISION = "1"  # raise it for newer packages: what is in the cache is kept as long as its key stays
LABEL = "streampipeline.piece"
MIRROR = "DEBIAN_MIRROR"  # the environment's variable for another mirror than mmdebstrap's own choice
# What the image on Docker Hub leaves out as well.
LEFT_OUT = ("doc", "groff", "info", "linda", "lintian", "locale", "man")


def base() -> Piece:
    """The image as one archive, `rootfs.tar`; only root can make it."""
    options = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT]
    options += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]
    options += ["--aptopt=APT::Install-Recommends false"]
    mirror = [os.environ[MIRROR]] if MIRROR in os.environ else []

    def build(job: Job) -> None:
        archive = job.folder / "rootfs.tar"
        command = ["nice", "-n", "5", "mmdebstrap", "--variant=minbase", *options, SUITE, str(archive)]
        job.run([*command, *mirror])

    return Piece("debian", (SUITE, REVISION, *options), build, tools=("mmdebstrap",))


def load(docker: Docker, store: Store, piece: Piece) -> None:
    """Give the daemon the image; one of that name that we did not make (pulled) stays as it is."""
    present = docker.inspect("image", TAG)
    if present is not None and (present["Config"]["Labels"] or {}).get(LABEL) in (None, piece.key):
        return
    archive = store.path(piece) / "rootfs.tar"
    docker.run("import", "--change", f"LABEL {LABEL}={piece.key}", "--change", 'CMD ["bash"]', archive, TAG)
    store.console.say("debian", f"the image {TAG} is in the daemon")
