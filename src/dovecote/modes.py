"""Delivery modes: how often a message may be handled is said by the message, and kept by its receiver.

The broker is told nothing of it, so that it is the same on each: a component has one quality of service for all.
"""

import logging
from collections.abc import Callable
from functools import partial

from dovecote.errors import BegunError, ConflictError, NotBegunError, UnavailableError
from dovecote.messages import DeliveryMode, Message
from dovecote.once import KEPT, Once
from dovecote.ports import Handler, State, Write
from dovecote.topics import fits, inbox

log = logging.getLogger(__name__)


def in_its_mode(topic: str, handler: Handler, state: Callable[[], State]) -> Handler:
    """The handler of a topic, which handles each message as often as its mode allows.

    Rows in the app's state say what was handled, for a day, by the message's identity.
    """
    addressed = fits(inbox("+"), topic)

    async def handle(message: Message) -> None:
        # A request that is addressed to an app has its effect once in any case, and its answer is to be repeated.
        request = addressed and message.reply_to is not None
        if message.delivery is DeliveryMode.AT_MOST_ONCE:
            await _at_most_once(_key(topic, message), handler, message, state())
        elif message.delivery is DeliveryMode.EXACTLY_ONCE and not request:
            # Not acknowledged before it is handled: this may be the only copy, and the other replica be killed.
            await Once(state()).do(_key(topic, message), partial(handler, message), wait=True)
        else:
            await handler(message)

    return handle


def _key(topic: str, message: Message) -> str:
    return f"delivered:{topic}:{message.identity}"


async def _at_most_once(key: str, handler: Handler, message: Message, state: State) -> None:
    try:
        await begin(key, message, state)
    except BegunError as error:
        log.info("%s", error)
        return
    await handler(message)


async def begin(key: str, message: Message, state: State) -> None:
    """Note that a message which may be handled at most once is handled now, whatever happens then.

    Raises BegunError if that was noted under its key before, NotBegunError if it cannot be noted.
    """
    try:
        await state.write(Write(key, {"id": message.id}, create=True, ttl=KEPT))
    except UnavailableError as error:
        raise NotBegunError(f"message {message.id!r} is not handled yet: {error}") from error
    except ConflictError:
        raise BegunError(
            f"message {message.id!r} was handed over before, and is not handled again: {message.delivery}"
        ) from None
