"""Receivers: apps that write what they handle into the logbook, and count an effect for each message."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from pydantic import BaseModel, JsonValue

from dovecote import App, Call, Commands, Message, MessageType
from dovecote.effects import Effects, RepeatedCallError
from dovecote.errors import named
from dovecote.ports import State
from dovecote.topics import inbox
from tests.conformance.logbook import Entry, Step, Writes

NEWS = "conformance/news"
LOCAL_NEWS = "conformance/news/local"
HEAP = "conformance/heap"
# For messages that fail: a broker may hold up what comes behind one.
TROUBLE = "conformance/trouble"


LARGEST = 24 << 20
"""Bytes of a message's content in the suite: all apps have it as DOVECOTE_MAX_BODY."""
_DIGEST = "digest"


class Publishing(BaseModel):
    """Messages to publish, one by one or as a batch; with the content of a document of so many bytes, if any."""

    topic: str
    messages: list[Message]
    batch: bool = False
    document: int = 0

    def to_send(self) -> list[Message]:
        """The messages with the document, of which the logbook gets the digest only."""
        if not self.document:
            return self.messages
        content = document(self.document)
        update = {"content": content, "metadata": {_DIGEST: digest(content)}}
        return [message.model_copy(update=update) for message in self.messages]


class Asking(BaseModel):
    """Contents to ask an app about, all at once."""

    recipient: str
    contents: list[JsonValue]
    seconds: float


class Commanding(BaseModel):
    """A command to give an app, whose effect is one for each key; its outcome is waited for so many seconds."""

    recipient: str
    command: str
    parameters: dict[str, JsonValue]
    key: str
    seconds: float


def document(size: int) -> str:
    """A text of so many characters, no two lines of it the same."""
    return "".join(f"{line:015}\n" for line in range(size // 16 + 1))[:size]


def digest(content: object) -> str:
    """What a content is known by."""
    return hashlib.sha256(str(content).encode()).hexdigest()


def receiver(name: str, replica: str, write: Writes) -> App:
    """One replica of an app that handles all topics of the suite, and publishes what it is told to."""
    app = App(name, requests=True)

    async def log(topic: str, step: Step, message: Message) -> None:
        if _DIGEST in message.metadata:
            message = message.model_copy(update={"content": digest(message.content)})
        order = await write(Entry(app=name, replica=replica, topic=topic, step=step, message=message))
        if order.error:
            raise named(order.error, order.text)

    def handler(topic: str) -> Callable[[Message], Awaitable[None]]:
        async def handle(message: Message) -> None:
            await log(topic, "before", message)
            await _count_once(app.running.ports.state, message)
            await log(topic, "after", message)

        return handle

    for topic in (NEWS, LOCAL_NEWS, TROUBLE):
        app.subscribe(topic)(handler(topic))
    app.subscribe(HEAP, bulk=True)(handler(HEAP))
    _answer_requests(app, partial(log, inbox(name), "before"))
    _add_routes(app)
    return app


def _answer_requests(app: App, begin: Callable[[Message], Awaitable[None]]) -> None:
    @app.bus.subscribe(types=[MessageType.QUERY])
    async def answer(message: Message) -> JsonValue:
        return {"answer": message.content}

    @Commands(app).command
    async def count(account: str, call: Call) -> int:
        """Count one more; returns how many there are."""
        await begin(Message(id=account, type=MessageType.COMMAND, sender="tests"))
        number = int(await call.state.get(account, 0)) + 1
        call.state.put(account, number)
        return number


def account_of(message: Message) -> str:
    """Where a message's effect is counted: the key that says what is the same effect, else its id."""
    return message.idempotency_key or message.id


async def _count_once(state: State, message: Message) -> None:
    account = account_of(message)
    while True:
        effects = Effects(state, account)
        try:
            effects.put(account, int(await effects.get(account, 0)) + 1)
            if await effects.settle(None, failed=False):
                return
        except RepeatedCallError:
            return


def _add_routes(app: App) -> None:
    @app.router.post("/publish", status_code=204)
    async def publish(what: Publishing) -> None:
        bus = app.running.ports.bus
        if what.batch:
            await bus.publish_batch(what.topic, what.to_send())
        else:
            for message in what.to_send():
                await bus.publish(what.topic, message)

    @app.router.post("/requests")
    async def requests(what: Asking) -> list[JsonValue]:
        asked = (app.bus.request(what.recipient, content, timeout=what.seconds) for content in what.contents)
        return [answer.content for answer in await asyncio.gather(*asked)]

    @app.router.post("/commands")
    async def commands(what: Commanding) -> JsonValue:
        accepted = await app.bus.command(
            what.recipient, what.command, what.parameters, timeout=what.seconds, idempotency_key=what.key
        )
        return await accepted.outcome()

    @app.router.post("/effects")
    async def effects(accounts: Sequence[str]) -> dict[str, int]:
        state = app.running.ports.state
        return {account: int(await Effects(state, "").get(account, 0)) for account in accounts}
