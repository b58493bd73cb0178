"""Serves one service: `python -m dovecote.serve services.gateway.main`.

Listens on APP_PORT, as `dapr run` sets it; stops on SIGTERM after what was accepted is done. With `--bridge` before
the module its bridge is served in its place, which moves its messages (dovecote.dapr.bridge).
"""

import asyncio
import contextlib
import importlib
import logging
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final

import uvicorn
from fastapi import FastAPI

from dovecote.dapr.bridge import bridge_of
from dovecote.errors import ConfigurationError
from dovecote.logs import configure
from dovecote.settings import get_settings

log = logging.getLogger(__name__)

_LOOK: Final = 0.1  # seconds between two looks at whether the user is in a hurry


def main(arguments: list[str]) -> int:
    """Serve the module's `app`; 2 if its configuration or its sidecar's is wrong, with one line that says so."""
    bridging = arguments[:1] == ["--bridge"]
    if len(arguments) != 1 + bridging:
        sys.stderr.write("usage: python -m dovecote.serve [--bridge] MODULE   (a module with an `app`)\n")
        return 2
    try:
        settings = get_settings()
        app = _load(arguments[-1])
        if bridging:
            app = bridge_of(app.state.dovecote, settings)
        configure(app.title, settings.log_level, settings.log_format)
    except ConfigurationError as error:
        return _refused(arguments[-1], error)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.app_port,
        log_config=None,
        access_log=False,
        ws="none",
        timeout_graceful_shutdown=settings.stop_delay + settings.stop_timeout,
    )
    with contextlib.suppress(KeyboardInterrupt):  # which uvicorn passes on when it is done
        Server(config, getattr(app.state, "retire", None), lambda: _fault(app)).run()
    if (fault := _fault(app)) is not None:
        return _refused(arguments[-1], fault)
    return 0


class Server(uvicorn.Server):
    """Closes its port only after deliveries have stopped; both and the last requests have one limit together.

    It ends by itself as soon as `fault` is something: what the app learned of its sidecar, and cannot work with.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        retire: Callable[[], Awaitable[None]] | None,
        fault: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(config)
        self._retire = retire
        self._fault = fault

    async def on_tick(self, counter: int) -> bool:
        """Say whether it is time to end; asked every tenth of a second."""
        return await super().on_tick(counter) or self._fault() is not None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in order; a user in a hurry waits for no delivery."""
        begun = time.monotonic()
        if self._retire:
            retiring = asyncio.ensure_future(self._retire())
            while not (retiring.done() or self.force_exit):
                await asyncio.wait([retiring], timeout=_LOOK)
            if not retiring.cancel() and (error := retiring.exception()):
                log.error("the app did not retire in order", exc_info=error)
        if self.config.timeout_graceful_shutdown:
            left = self.config.timeout_graceful_shutdown - int(time.monotonic() - begun)
            self.config.timeout_graceful_shutdown = max(1, left)
        await super().shutdown(sockets)


def _fault(app: FastAPI) -> ConfigurationError | None:
    fault: ConfigurationError | None = getattr(app.state, "fault", None)
    return fault


def _refused(name: str, error: ConfigurationError) -> int:
    mend = f" ({error.mend})" if error.mend else ""
    sys.stderr.write(f"{name}: {error}{mend}\n")
    return 2


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
