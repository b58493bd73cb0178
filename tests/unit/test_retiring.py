"""The end of an app: what is done in which order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI

from dovecote import App
from dovecote.errors import ConfigurationError
from dovecote.ports import Ports
from dovecote.settings import Settings
from dovecote.testing import MemoryBus, MemoryInvoke, MemoryState, MemoryWorkflows, ScriptedModel


async def _nothing() -> list[str]:
    return []


class Ending:
    """An app that keeps in which order its parts end."""

    def __init__(self, delay: int) -> None:
        self.order: list[str] = []
        self.app = App("writer")
        self.app.lifespans.append(self._lasting)
        self.api = self.app.build(self._connect, Settings(stop_delay=delay, stop_timeout=1))

    @contextlib.asynccontextmanager
    async def _lasting(self) -> AsyncIterator[None]:
        yield
        self.order.append("lifespan")

    @contextlib.asynccontextmanager
    async def _connect(self, _app: App, _api: FastAPI, _settings: Settings) -> AsyncIterator[Ports]:
        async def drain(_: float) -> None:
            self.order.append("activities")

        async def release() -> None:
            self.order.append("sidecar")

        invoke = MemoryInvoke({})
        yield Ports(
            bus=MemoryBus(),
            invoke=invoke,
            state=MemoryState(),
            model=ScriptedModel(),
            workflows=MemoryWorkflows(),
            missing=_nothing,
            drain=drain,
            release=release,
            listen=lambda _: contextlib.nullcontext(),
        )
        self.order.append("connection")


async def test_an_app_that_ends_its_sidecar_finishes_first_and_closes_its_port_last() -> None:
    ending = Ending(delay=1)
    async with ending.api.router.lifespan_context(ending.api):
        retiring = asyncio.create_task(ending.app.retire())
        done, _ = await asyncio.wait([retiring], timeout=0.5)
        assert not done
        assert ending.order == []
        assert await ending.app.running.missing() == ["stopping"]
        await retiring
        assert ending.order == ["lifespan", "activities", "sidecar"]
    assert ending.order == ["lifespan", "activities", "sidecar", "connection"]


async def test_an_app_whose_sidecar_somebody_else_ends_finishes_after_its_port_is_closed() -> None:
    ending = Ending(delay=0)
    async with ending.api.router.lifespan_context(ending.api):
        await ending.app.retire()
        assert ending.order == []
    assert ending.order == ["lifespan", "activities", "connection"]


async def test_an_app_whose_lifespan_fails_does_not_start() -> None:
    ending = Ending(delay=0)

    @contextlib.asynccontextmanager
    async def failing() -> AsyncIterator[None]:
        if ending.app.running:
            raise RuntimeError("no")
        yield

    ending.app.lifespans.append(failing)
    with pytest.raises(RuntimeError, match="no"):
        async with ending.api.router.lifespan_context(ending.api):
            pass
    with pytest.raises(ConfigurationError, match="not running"):
        assert ending.app.running
