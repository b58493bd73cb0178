"""An app with a command, and somebody who gives it, in memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from pydantic import JsonValue

from dovecote import App, Call, Commands, Message, MessageType, topics
from dovecote.errors import ToolError, UnavailableError
from dovecote.settings import Settings
from dovecote.testing import Network


class Till:
    """An app with commands."""

    def __init__(self) -> None:
        self.app = App("till")
        self.log: list[str] = []
        self.lost = {"lost"}
        self.goes = asyncio.Event()
        self.goes.set()
        commands = Commands(self.app)

        @commands.command
        async def pay(order: str, cents: int, call: Call) -> int:
            """Pay an order; returns what was paid for it so far."""
            self.log.append(order)
            await self.goes.wait()
            if order in self.lost:
                raise ToolError("there is no such order", mend="order it first")
            if order == "flaky" and self.log.count("flaky") < 3:
                raise UnavailableError("not yet")
            paid = int(await call.state.get(order, 0)) + cents
            call.state.put(order, paid)
            return paid

        self.pay = pay


@contextlib.asynccontextmanager
async def asker(
    *apps: App, resend_after: float = 5.0, model_wait: float = 60.0
) -> AsyncIterator[tuple[App, Network]]:
    """An app that asks, called ann, and the network with it and `apps`."""
    ann = App("ann", requests=True)
    settings = Settings(resend_after=resend_after, model_wait=model_wait)
    async with Network([ann, *apps], settings=settings) as net:
        yield ann, net


def pay(order: str = "a", **fields: Any) -> Message:
    """The command to pay 5 for an order."""
    content: JsonValue = {"command": "pay", "parameters": {"order": order, "cents": 5}}
    return Message(type=MessageType.COMMAND, sender="ann", content=content, **fields)


def outcomes(net: Network) -> list[Any]:
    """What ann was told of her commands' outcomes."""
    return [row["data"] for row in net.bus.events(topics.replies("ann")) if row["type"] == "response"]
