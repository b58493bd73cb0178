"""Directory: which agents and tools run, and what each can do."""

from typing import Literal

from dovecote import App
from dovecote.directory import Registration
from services.directory.registry import Registry

directory = App("directory")
registry = Registry(directory)


@directory.router.post("/registrations", status_code=204)
async def register(registration: Registration) -> None:
    """Announce a replica of an agent or a tool, or renew its lease."""
    await registry.register(registration)


@directory.router.delete("/registrations/{app_id}/{replica}", status_code=204)
async def leave(app_id: str, replica: str) -> None:
    """End the lease of a replica."""
    await registry.leave(app_id, replica)


@directory.router.get("/registrations")
async def running(kind: Literal["agent", "tool"] | None = None) -> list[Registration]:
    """All replicas that run now."""
    return [row for row in await registry.running() if kind in (None, row.kind)]


app = directory.asgi
