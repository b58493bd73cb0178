"""Serves one service: `python -m dovecote.serve services.gateway.main`.

Listens on APP_PORT, as `dapr run` sets it; stops on SIGTERM after what was accepted is done.
"""

import importlib
import logging
import sys

import uvicorn

from dovecote.errors import ConfigurationError
from dovecote.settings import get_settings


def main(arguments: list[str]) -> int:
    """Serve the module's `app`; 2 if its configuration is wrong, with one line that says what."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m dovecote.serve MODULE   (a module with an `app`)\n")
        return 2
    try:
        settings = get_settings()
        logging.basicConfig(
            level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
        logging.getLogger("WorkflowRuntime").setLevel(logging.WARNING)
        app = importlib.import_module(arguments[0]).app
    except ConfigurationError as error:
        mend = f" ({error.mend})" if error.mend else ""
        sys.stderr.write(f"{arguments[0]}: {error}{mend}\n")
        return 2
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.app_port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=settings.stop_timeout,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
