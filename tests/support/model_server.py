"""A scripted model on a real port, for tests in which something else calls it."""

import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx
import uvicorn

from services.demo_model.app import create_app
from services.demo_model.script import Script
from tests.support.ports import bound_socket

_START_DEADLINE = 10.0
_STOP_DEADLINE = 10.0


class ModelServer:
    """Context manager that runs the model server in a thread, scripted (by no rules, if no script is given).

    `url` is what DEMO_MODEL_URL takes: http://127.0.0.1:PORT/v1. Ports lie below those of the
    launcher, and of the kernel.
    """

    def __init__(self, script: Script | Mapping[str, Any] | None = None) -> None:
        self._script = _script(script)
        self._socket = bound_socket()
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        config = uvicorn.Config(
            create_app(self._script), log_config=None, log_level="error", ws="none", lifespan="on"
        )
        self._server = _Announcing(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", timeout=10, trust_env=False, verify=False
        )

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._server.ready.wait(_START_DEADLINE):
            raise TimeoutError(f"the model server on port {self.port} did not start within {_START_DEADLINE:g} s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._server.should_exit = True
        self._thread.join(_STOP_DEADLINE)
        self._socket.close()
        if self._thread.is_alive():
            raise TimeoutError(f"the model server on port {self.port} did not stop within {_STOP_DEADLINE:g} s")

    def calls(self) -> list[dict[str, Any]]:
        """Every call so far, oldest first."""
        found: list[dict[str, Any]] = self._report()["calls"]
        return found

    def totals(self) -> dict[str, Any]:
        """Numbers of calls: `calls`, `answers` by kind, `rules` by name."""
        found: dict[str, Any] = self._report()["totals"]
        return found

    def reset(self) -> None:
        """Forget the calls, and how often each rule was used."""
        self._client.delete("/calls").raise_for_status()

    def set_script(self, script: Script | Mapping[str, Any]) -> None:
        """Answer by another script from now on."""
        body = _script(script).model_dump_json()
        self._client.post("/script", content=body).raise_for_status()

    def _report(self) -> dict[str, Any]:
        report: dict[str, Any] = self._client.get("/calls").raise_for_status().json()
        return report


class _Announcing(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


def _script(script: Script | Mapping[str, Any] | None) -> Script:
    return script if isinstance(script, Script) else Script.model_validate(dict(script or {}))
