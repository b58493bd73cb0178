"""Directory: which apps are online, which agents and tools run, and what each can do."""

from dovecote import App
from dovecote.directory import Kind, Presence, Registration
from dovecote.errors import NotFoundError
from services.directory.registry import Registry

directory = App("directory")
directory.registrar = registry = Registry(directory)
directory.lifespans.append(registry.kept)


@directory.router.post("/registrations", status_code=204)
async def register(registration: Registration) -> None:
    """Announce a replica of an app, or renew its lease."""
    await registry.register(registration)


@directory.router.delete("/registrations/{app_id}/{replica}", status_code=204)
async def leave(app_id: str, replica: str) -> None:
    """End the lease of a replica."""
    await registry.remove(app_id, replica)


@directory.router.get("/registrations")
async def running(kind: Kind | None = None) -> list[Registration]:
    """All replicas that run now."""
    return [row for row in await registry.running() if kind in (None, row.kind)]


@directory.router.get("/presence")
async def presence() -> list[Presence]:
    """Every app that ever announced itself: whether it is online, and since when that is so."""
    return await registry.presence()


@directory.router.get("/presence/{app_id}")
async def presence_of(app_id: str) -> Presence:
    """Whether an app is online."""
    found = await registry.presence_of(app_id)
    if found is None:
        raise NotFoundError(f"no app {app_id!r} has ever announced itself")
    return found


app = directory.asgi
