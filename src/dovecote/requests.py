"""Requests: messages that wait for an answer, over a bus on which the asker's replicas compete for it.

The answer comes on a topic of the asking app, at any of its replicas. One that is not the asker puts it into the
state store, where the asker looks. A request is sent again, same id, until its answer is there: a broker may lose
the one or the other.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue, ValidationError

from dovecote import topics
from dovecote.errors import (
    ConflictError,
    DeadlineError,
    DovecoteError,
    InvalidInputError,
    TaskFailedError,
    UnavailableError,
)
from dovecote.messages import Message, MessageType
from dovecote.ports import Write
from dovecote.results import Failure

if TYPE_CHECKING:
    from dovecote.app import App

log = logging.getLogger(__name__)

_KEPT: Final = 3600  # seconds that an answer waits for its asker, and that it is known that nobody waits any more
_REMEMBERED: Final = 10_000
_SOON: Final = 0.03  # seconds until it is first looked whether another replica got an answer
_RARELY: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
_AWAY: Final = 1.0  # seconds until a request that the broker did not take is published again


class Exchange:
    """One request, the first word of its recipient, which is an acceptance or the answer, and the answer."""

    def __init__(self, request: Message, seconds: float, *, again: bool) -> None:
        loop = asyncio.get_running_loop()
        self.request = request
        self.seconds = seconds
        self.again = again
        self.end = loop.time() + seconds
        self.first: asyncio.Future[Message] = loop.create_future()
        self.answer: asyncio.Future[Message] = loop.create_future()
        self.sent = 0
        self.send_at = loop.time()
        self.pause = 0.0
        self.failed = ""

    def awaited(self) -> dict[str, asyncio.Future[Message]]:
        """What somebody may wait for: the answer, and of a command the first word."""
        first = {"first": self.first} if self.request.type is MessageType.COMMAND else {}
        return {**first, "answer": self.answer}

    def take(self, reply: Message) -> None:
        """Take what the recipient says; of two that say the same the first counts."""
        waiting = [self.first] if reply.type is MessageType.STATUS else [self.first, self.answer]
        for future in waiting:
            if not future.done():
                future.set_result(reply)


class Requests:
    """The requests of one replica of an app; `late` counts the answers that came when nobody waited any more."""

    def __init__(self, app: "App") -> None:
        self._app = app
        self._open: dict[str, Exchange] = {}
        self._over: OrderedDict[str, bool] = OrderedDict()  # whether it was answered in time, by its id
        self._asked = asyncio.Event()
        self.late = 0
        self.is_open = False

    def open(self) -> None:
        """Have the app take answers; before it starts."""
        if not self.is_open:
            self.is_open = True
            self._app.subscribe(topics.replies(self._app.name))(self.take)
            self._app.lifespans.append(self._looking)

    @contextlib.contextmanager
    def begin(self, request: Message, seconds: float, *, again: bool) -> Iterator[Exchange]:
        """Begin an exchange; it is sent while somebody waits in `until`.

        It ends if the block is cancelled: nobody else knows of it. `again` is whether its id may have been asked
        before. Raises ConflictError if somebody waits for an answer to that id.
        """
        if request.id in self._open:
            raise ConflictError(
                f"{request.type.value} {request.id!r} was sent before, and its answer is waited for",
                mend="await the first one, or give this one an id of its own",
            )
        exchange = self._open[request.id] = Exchange(request, seconds, again=again)
        self._asked.set()
        try:
            yield exchange
        except asyncio.CancelledError:
            self._end(exchange, answered=False)
            raise

    async def until(self, exchange: Exchange, told: asyncio.Future[Message]) -> Message:
        """What is told of an exchange: its `first` word, or its `answer`, which may be an error.

        Raises DeadlineError when the time is over. Who is cancelled may ask again.
        """
        try:
            reply = await self._until(exchange, told)
        except DovecoteError:
            self._end(exchange, answered=False)
            raise
        if reply.type is not MessageType.STATUS:
            self._end(exchange, answered=True)
        return reply

    async def _until(self, exchange: Exchange, told: asyncio.Future[Message]) -> Message:
        clock = asyncio.get_running_loop().time
        while not told.done() and clock() < exchange.end:
            if clock() >= exchange.send_at:
                await self._send(exchange)
            await asyncio.wait([told], timeout=min(exchange.send_at, exchange.end) - clock())
        if told.done():
            return told.result()
        return await self._give_up(exchange)

    async def _send(self, exchange: Exchange) -> None:
        ports, settings = self._app.running.ports, self._app.running.settings
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout_at(exchange.end):
                if exchange.again:
                    await self._reopen(exchange.request.id)
                    exchange.again = False
                await ports.bus.publish(topics.inbox(str(exchange.request.recipient)), exchange.request)
        except (UnavailableError, TimeoutError) as error:
            exchange.failed = str(error) or "the broker did not take it in time"
            exchange.send_at = clock() + _AWAY
            return
        exchange.sent += 1
        exchange.pause = min(
            exchange.pause * 2 or settings.resend_after, max(settings.resend_after, _LONGEST_PAUSE)
        )
        exchange.send_at = clock() + exchange.pause

    async def _give_up(self, exchange: Exchange) -> Message:
        """The answer, if it has come to another replica at the last moment; DeadlineError otherwise."""
        request = exchange.request
        try:
            kept = await self._keep(request.id, "answer", None)
        except UnavailableError as error:
            log.warning("a late answer to request %r may not be told as late: %s", request.id, error)
            kept = None
        if kept is not None:
            return kept
        text = f"{request.recipient!r} did not answer {request.type.value} {request.id!r} "
        text += f"within {exchange.seconds:g} s"
        text += f", though it was sent {exchange.sent} times" if exchange.sent else f": {exchange.failed}"
        text += ", and it said that it has it" if exchange.first.done() else ""
        raise DeadlineError(text, mend=f"see that {request.recipient!r} runs, or give it more time")

    async def take(self, reply: Message) -> None:
        """Take an answer, whichever replica asked for it. InvalidInputError for what answers nothing."""
        request_id = reply.correlation_id
        if request_id is None:
            raise InvalidInputError(f"{reply.id!r} of {reply.sender!r} does not say which request it answers")
        accepted = reply.type is MessageType.STATUS
        if exchange := self._open.get(request_id):
            exchange.take(reply)
        elif accepted and request_id in self._over:
            return
        # What is over here may have been asked again, by the same id, at another replica.
        elif await self._keep(request_id, "first" if accepted else "answer", reply) is None and not accepted:
            self._discard(reply)

    async def _keep(self, request_id: str, part: str, reply: Message | None) -> Message | None:
        """Keep a reply, or None since nobody waits any more, for other replicas; returns what was kept first."""
        key = _key(request_id, part)
        row: JsonValue = {"reply": reply.model_dump(mode="json") if reply else None}
        state = self._app.running.ports.state
        try:
            await state.write(Write(key, row, create=True, ttl=_KEPT))
        except ConflictError:
            item = await state.get(key)
            found = item.value["reply"] if item else None
            return Message.model_validate(found) if found else None
        return reply

    async def _reopen(self, request_id: str) -> None:
        """Forget that nobody waits any more for an answer to a request that was sent before."""
        key, state = _key(request_id, "answer"), self._app.running.ports.state
        item = await state.get(key)
        if item is not None and item.value["reply"] is None:
            await state.delete(key)

    def _discard(self, reply: Message) -> None:
        request_id = str(reply.correlation_id)
        if self._over.get(request_id):
            return  # it is said once more what was heard already
        self.late += 1
        self._app.metrics.late()
        self._remember(request_id, answered=True)  # it counts once, however often it comes
        log.warning(
            "answer %r of %r to request %r came too late, and is discarded; %d so far",
            reply.id,
            reply.sender,
            request_id,
            self.late,
        )

    def _end(self, exchange: Exchange, *, answered: bool) -> None:
        self._open.pop(exchange.request.id, None)
        self._remember(exchange.request.id, answered=answered)

    def _remember(self, request_id: str, *, answered: bool) -> None:
        self._over[request_id] = answered
        if len(self._over) > _REMEMBERED:
            self._over.popitem(last=False)

    @contextlib.asynccontextmanager
    async def _looking(self) -> AsyncIterator[None]:
        """Look for answers that came to other replicas, while the block runs."""
        self._asked = asyncio.Event()
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking

    async def _look(self) -> None:
        pause = _SOON
        while True:
            if not self._open:
                await self._asked.wait()
            pause = _SOON if self._asked.is_set() else min(pause * 1.5, _RARELY)
            self._asked.clear()
            await asyncio.sleep(pause)
            try:
                await self._fetch()
            except DovecoteError as error:
                log.warning("answers at other replicas cannot be looked for: %s", error)
            self._forget()

    async def _fetch(self) -> None:
        """Take what other replicas have kept for this one."""
        asked = {
            _key(request_id, part): exchange
            for request_id, exchange in self._open.items()
            for part, future in exchange.awaited().items()
            if not future.done()
        }
        for key, item in (await self._app.running.ports.state.get_many(list(asked))).items():
            if item.value["reply"]:
                asked[key].take(Message.model_validate(item.value["reply"]))

    def _forget(self) -> None:
        """End exchanges whose time is over and for which nobody waits."""
        over = asyncio.get_running_loop().time() - _RARELY
        for exchange in [exchange for exchange in self._open.values() if exchange.end < over]:
            self._end(exchange, answered=exchange.answer.done())


class AcceptedCommand:
    """A command that its recipient has accepted; `id` is that of the message."""

    def __init__(self, requests: Requests, exchange: Exchange) -> None:
        self._requests = requests
        self._exchange = exchange
        self.id = exchange.request.id

    async def outcome(self) -> JsonValue:
        """What the command gave. Raises the error with which it ended, or DeadlineError when the time is over."""
        reply = await self._requests.until(self._exchange, self._exchange.answer)
        if error := error_in(reply):
            raise error
        return reply.content


def _key(request_id: str, part: str) -> str:
    return f"reply:{request_id}:{part}"


def error_in(reply: Message) -> DovecoteError | None:
    """The error that an answer tells of, if it does."""
    if reply.type is not MessageType.ERROR:
        return None
    try:
        return Failure.model_validate(reply.content).to_error()
    except ValidationError:
        return TaskFailedError(f"{reply.sender!r} answered with an error: {reply.content!r}")
