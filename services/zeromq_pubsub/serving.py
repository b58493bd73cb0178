"""Serving a component at a Unix socket, for one sidecar, which is started and ended with it if it is given."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import grpc
from grpc_reflection.v1alpha import reflection

from services.zeromq_pubsub.component import Component
from services.zeromq_pubsub.ending import asked_to_end
from services.zeromq_pubsub.protocol import SERVICE, handlers

_GRACE_SECONDS: Final = 1.0
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


async def serve(path: Path) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    asked = asked_to_end()
    async with component_at(path):
        await asked.wait()
    return 0


async def serve_beside(path: Path, sidecar: Sequence[str], directory: Path) -> int:
    """Serve a sidecar that is started here, in the directory, until it ends; returns its exit status.

    A sidecar never connects again to a component that was away, so the two live and die together. A signal to
    end is for the sidecar, which gets it as a member of this process group, and needs the component to drain.
    """
    asked_to_end()
    async with component_at(path):
        process = await asyncio.create_subprocess_exec(*sidecar, cwd=directory)
        return await process.wait()


def _make_way(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # A sidecar that finds a socket at which nobody answers waits for ever.
    path.unlink(missing_ok=True)
