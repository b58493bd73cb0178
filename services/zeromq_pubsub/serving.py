"""Serving a component at a Unix socket, for one sidecar, which is started and ended with it if it is given."""

import asyncio
import contextlib
import http.client
import logging
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import grpc
from grpc_reflection.v1alpha import reflection

from services.zeromq_pubsub.component import Component
from services.zeromq_pubsub.ending import asked_to_end
from services.zeromq_pubsub.protocol import SERVICE, handlers

log = logging.getLogger(__name__)

_GRACE_SECONDS: Final = 1.0
_ASKING_SECONDS: Final = 5.0
# What a sidecar can be given in one request of many messages.
_OPTIONS: Final = (("grpc.max_receive_message_length", 64 * 1024 * 1024), ("grpc.so_reuseport", 0))


@contextlib.asynccontextmanager
async def component_at(path: Path) -> AsyncIterator[None]:
    """A component that answers at the socket; its name without the ending is that of the component's type."""
    _make_way(path)
    component = Component()
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((handlers(component),))
    # It is by reflection that a sidecar learns what a socket offers.
    reflection.enable_server_reflection((SERVICE.full_name, reflection.SERVICE_NAME), server)
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(_GRACE_SECONDS)
        await component.close()
        _make_way(path)


async def serve(path: Path, sidecar_port: int | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status.

    A sidecar that others start again when it ends, as Kubernetes does, is told to end at its HTTP port if there is
    the socket of an earlier component, which died: it would never connect to this one.
    """
    asked = asked_to_end()
    left_behind = await asyncio.to_thread(path.exists)
    async with component_at(path):
        if left_behind and sidecar_port is not None:
            await asyncio.to_thread(_end_sidecar, sidecar_port)
        await asked.wait()
    return 0


def _end_sidecar(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ASKING_SECONDS)
    token = os.environ.get("DAPR_API_TOKEN")
    try:
        connection.request("POST", "/v1.0/shutdown", headers={"dapr-api-token": token} if token else {})
        status = connection.getresponse().status
    except OSError as error:
        # It is not there, and so will find this component when it starts.
        log.info("the sidecar at port %d is not told to start again: %s", port, error)
    else:
        log.warning("a component was here before: the sidecar at port %d is told to start again (%d)", port, status)
    finally:
        connection.close()


async def serve_beside(path: Path, sidecar: Sequence[str], directory: Path, *, pass_on: bool = False) -> int:
    """Serve a sidecar that is started here, in the directory, until it ends; returns its exit status.

    A sidecar never connects again to a component that was away, so the two live and die together. A signal to
    end is for the sidecar, which needs the component to drain: it gets it as a member of this process group, or
    with `pass_on` from here. It must not get it twice, since it then ends at once.
    """
    asked = asked_to_end()
    async with component_at(path):
        process = await asyncio.create_subprocess_exec(*sidecar, cwd=directory)
        ended = asyncio.ensure_future(process.wait())
        if pass_on:
            asking = asyncio.ensure_future(asked.wait())
            await asyncio.wait([ended, asking], return_when=asyncio.FIRST_COMPLETED)
            asking.cancel()
            if not ended.done():
                process.terminate()
        return await ended


def _make_way(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # A sidecar that finds a socket at which nobody answers waits for ever.
    path.unlink(missing_ok=True)
