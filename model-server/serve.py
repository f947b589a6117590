"""Serve the model from this one process: `python serve.py --port 3000`.

The same BentoML application as `bentoml serve` runs, without its second process that only watches the
first: whoever starts this (the operator's pod, `streampipeline run`) watches already, and can end it alone.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def main() -> int:
    """Serve until ended. Returns the exit status: 2 where there is no model to serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=3000, help="port to listen on")
    parser.add_argument("--model-dir", type=Path, help="default $STREAMPIPELINE_MODEL_DIR or the bundled")
    arguments = parser.parse_args()
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    if arguments.model_dir:
        os.environ["STREAMPIPELINE_MODEL_DIR"] = str(arguments.model_dir.resolve())
    return _serve(arguments.host, arguments.port)


def _serve(host: str, port: int) -> int:
    # Not before the environment is set: BentoML reads it when it is imported.
    import uvicorn
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.log import configure_server_logging
    from bentoml._internal.server.metrics.prometheus import PrometheusClient

    from served_model import ModelError, load_model
    from service import StressModel, model_folder

    try:
        load_model(model_folder())
    except ModelError as error:
        # Here and not while starting, where it would be the last line of three stack traces.
        print(f"serve.py: {error}", file=sys.stderr)
        return 2
    configure_server_logging()  # type: ignore[no-untyped-call]
    # One process needs no files to add its metrics up with others'.
    BentoMLContainer.metrics_client.set(PrometheusClient(multiproc=False))
    app = StressModel.to_asgi()  # type: ignore[attr-defined]
    server = uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_config=None, server_header=False))
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
