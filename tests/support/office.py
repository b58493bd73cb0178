"""An office: two apps that fail at the messages they are told to, the recorder, and the gateway."""

import asyncio
from collections import defaultdict
from typing import Any

from fastapi import FastAPI

from dovecote import App, Message, MessageType
from dovecote.deadletters import DeadLetter, DeadLetterRow
from dovecote.effects import Effects
from dovecote.settings import Settings
from dovecote.testing import Network
from services.directory.main import app as directory
from services.gateway.main import app as gateway
from services.recorder.main import app as recorder

TOPIC = "test/letters"


class Clerk:
    """An app that counts each message, after it has raised the errors that are to come first.

    While it `waits` it goes on with none.
    """

    def __init__(self, name: str) -> None:
        self.app = App(name)
        self.errors: defaultdict[str, list[Exception]] = defaultdict(list)
        self.begun: list[Message] = []
        self.handled: list[Message] = []
        self.waits: asyncio.Event | None = None
        self.app.subscribe(TOPIC)(self.take)

    async def take(self, message: Message) -> None:
        self.begun.append(message)
        if self.waits:
            await self.waits.wait()
        if self.errors[message.id]:
            raise self.errors[message.id].pop(0)
        effects = Effects(self.app.running.ports.state, message.id)
        effects.put("count", int(await effects.get("count", 0)) + 1)
        await effects.settle(None, failed=False)
        self.handled.append(message)


class Office:
    """Two clerks, the recorder that keeps their dead letters, and the gateway that shows them."""

    def __init__(self, **settings: Any) -> None:
        self.ann, self.bob = Clerk("ann"), Clerk("bob")
        apps: list[App | FastAPI] = [directory, recorder, gateway, self.ann.app, self.bob.app]
        self.net = Network(apps, settings=Settings(max_resubmissions=2, **settings))

    async def send(self, message: Message, **errors: list[Exception]) -> Message:
        """Publish a message at which clerks fail as it is said, and wait until nothing happens any more."""
        for name, raised in errors.items():
            getattr(self, name).errors[message.id] = [*raised]
        await self.net.bus.publish(TOPIC, message)
        await self.net.bus.settled()
        return message

    async def ls(self, query: str = "") -> list[DeadLetterRow]:
        page: Any = await self.net.invoke("recorder", f"deadletters{query}", verb="GET")
        return [DeadLetterRow.model_validate(row) for row in page["rows"]]

    async def show(self, message: Message) -> DeadLetter:
        return DeadLetter.model_validate(await self.net.invoke("recorder", f"deadletters/{message.id}", verb="GET"))

    async def act(self, what: str, message: Message, **fields: str) -> DeadLetterRow:
        row = await self.net.invoke("recorder", f"deadletters/{what}", {"id": message.id, **fields})
        return DeadLetterRow.model_validate(row)


def letter(content: Any = "a letter", **fields: Any) -> Message:
    return Message(**{"type": MessageType.EVENT, "sender": "tests", "content": content, **fields})
