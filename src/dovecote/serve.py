"""Serves one service: `python -m dovecote.serve services.gateway.main`.

Listens on APP_PORT, as `dapr run` sets it; stops on SIGTERM after what was accepted is done. With `--bridge` before
the module its bridge is served in its place, which moves its messages (dovecote.dapr.bridge).
"""

import contextlib
import importlib
import logging
import socket
import sys
from typing import Final

import uvicorn
from fastapi import FastAPI
from starlette.datastructures import State

from dovecote.dapr.bridge import bridge_of
from dovecote.errors import ConfigurationError
from dovecote.settings import get_settings

_NOT_STARTED: Final = 3  # as uvicorn says it


def main(arguments: list[str]) -> int:
    """Serve the module's `app`; 2 if its configuration is wrong, with one line that says what."""
    bridging = arguments[:1] == ["--bridge"]
    if len(arguments) != 1 + bridging:
        sys.stderr.write("usage: python -m dovecote.serve [--bridge] MODULE   (a module with an `app`)\n")
        return 2
    try:
        settings = get_settings()
        logging.basicConfig(
            level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
        for chatty in ("WorkflowRuntime", "durabletask-worker", "durabletask-client"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        app = _load(arguments[-1])
        if bridging:
            app = bridge_of(app.state.dovecote, settings)
    except ConfigurationError as error:
        mend = f" ({error.mend})" if error.mend else ""
        sys.stderr.write(f"{arguments[-1]}: {error}{mend}\n")
        return 2
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.app_port,
        log_config=None,
        access_log=False,
        ws="none",
        timeout_graceful_shutdown=settings.stop_timeout,
    )
    server = _Server(config, app.state)
    with contextlib.suppress(KeyboardInterrupt):  # which uvicorn passes on when it is done
        server.run()
    return 0 if server.started else _NOT_STARTED


class _Server(uvicorn.Server):
    """Closes its port only after the sidecar has stopped delivering to it."""

    def __init__(self, config: uvicorn.Config, state: State) -> None:
        super().__init__(config)
        self._state = state

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if not self.force_exit:
            await self._state.retire()
        await super().shutdown(sockets)


def _load(name: str) -> FastAPI:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there, and what it imports is not
        raise ConfigurationError(
            f"there is no module {error.name!r}", mend="start where it lies, such as in the checkout"
        ) from error
    app = getattr(module, "app", None)
    if not isinstance(app, FastAPI):
        raise ConfigurationError("the module has no `app`", mend="end it with `app = agent.app`, or the like")
    return app


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
