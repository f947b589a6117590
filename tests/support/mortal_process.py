"""The operator as a process that kills itself right after an effect: its reply is never seen.

The environment names the effect: a change on the API server as "PATCH pods", or "issue" and "revoke" of a
token. With SIGKILL nothing is tidied up.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from streampipeline.sinks.influxdb_admin import InfluxDbAdmin
from streampipeline_operator import main
from streampipeline_operator.kube import Kube

DIES_AFTER = "STREAMPIPELINE_TEST_DIES_AFTER"


def _mortal(kind: type, method: str, name: Callable[..., str]) -> None:
    """Replace a method by one that ends the process when its name is the effect's."""
    before, effect = getattr(kind, method), os.environ[DIES_AFTER]

    def replaced(self: Any, *arguments: Any, **more: Any) -> Any:
        answer = before(self, *arguments, **more)
        if name(*arguments) == effect:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(kind, method, replaced)


def _change(method: str, path: str) -> str:
    parts = path.split("/namespaces/")[-1].split("/")[1:]
    return f"{method} {parts[0] if parts else path}" + ("/status" if parts[2:] == ["status"] else "")


if __name__ == "__main__":
    _mortal(Kube, "request", _change)
    _mortal(InfluxDbAdmin, "issue", lambda *_: "issue")
    _mortal(InfluxDbAdmin, "revoke", lambda *_: "revoke")
    main.main()
