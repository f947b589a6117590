"""What an image's build must know of this machine's network: mirrors, proxies, certificates of its own.

Handed over as BuildKit secrets, which are in no layer and in no history. A machine on which nothing is set
hands over nothing.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from toolchain import python_envs
from toolchain.store import Store

_CERTIFICATES = "/run/secrets/ca-certificates"
_ADDED_CERTIFICATES = Path("/usr/local/share/ca-certificates")
_SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def secrets(store: Store, checkout: Path, folder: Path) -> dict[str, Path]:
    """Write the files of the Dockerfile's secrets into `folder`; by the secret's id.

    `ca-certificates`: a PEM bundle. `apt.conf`: settings of apt. `network`: variables, as a shell reads them.
    """
    found: dict[str, Path] = {}
    installer = python_envs.uv(checkout / "requirements")
    store.install([installer])
    variables = python_variables(python_envs.uv_settings(store.path(installer)))
    variables |= {name: os.environ[name] for name in _PROXIES if os.environ.get(name)}
    apt = apt_settings(_apt_dump())

    bundle = ca_bundle(os.environ, _ADDED_CERTIFICATES, _SYSTEM_BUNDLE)
    if bundle is not None:
        found["ca-certificates"] = bundle
        variables |= {"SSL_CERT_FILE": _CERTIFICATES, "PIP_CERT": _CERTIFICATES}
        apt += f'Acquire::https::CAInfo "{_CERTIFICATES}";\n'
    if apt:
        found["apt.conf"] = folder / "apt.conf"
        found["apt.conf"].write_text(apt)
        variables["APT_CONFIG"] = "/run/secrets/apt.conf"
    if variables:
        found["network"] = folder / "network"
        exports = (f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
        found["network"].write_text("".join(exports))
    return found


def ca_bundle(environ: os._Environ[str] | dict[str, str], added: Path, system: Path) -> Path | None:
    """The bundle that this machine's programs trust, where it is not just what the system ships."""
    for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"):
        if environ.get(name) and Path(environ[name]).is_file():
            return Path(environ[name])
    return system if any(added.rglob("*.crt")) and system.is_file() else None


def python_variables(uv: dict[str, str]) -> dict[str, str]:
    """Of uv's settings on this machine those that hold inside a build, and the same for pip."""
    index = uv.get("UV_DEFAULT_INDEX") or os.environ.get("UV_DEFAULT_INDEX")
    return {"UV_DEFAULT_INDEX": index, "PIP_INDEX_URL": index} if index else {}


def apt_settings(dump: str) -> str:
    """The lines of `apt-config dump` that say how to reach and to judge archives."""
    kept = re.findall(r"^Acquire::(?:Check|https?::(?:Proxy|Verify)|Retries)[^\n]*\n", dump, re.MULTILINE)
    return "".join(kept)


def _apt_dump() -> str:
    if shutil.which("apt-config") is None:
        return ""
    return subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
