"""Resubmission: a dead letter is handed once more to the consumer that gave it up, and to no other.

It comes by invocation and not over the broker, whose topic has other consumers too; so whoever resubmits it hears
at once what became of it.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Final

from fastapi import APIRouter
from pydantic import JsonValue

from dovecote.deadletters import Resubmission
from dovecote.delivery import failure_of
from dovecote.errors import InvalidInputError, NotFoundError, outcome
from dovecote.matching import in_lanes, matching
from dovecote.messages import Message
from dovecote.ports import Subscription

HANDED_IN: Final = ContextVar("HANDED_IN", default=False)
"""Whether what is being handled is a dead letter that is handed in again."""


def router(
    app_id: str,
    subscriptions: Callable[[], Sequence[Subscription]],
    reopen: Callable[[Message], Awaitable[Message]],
) -> APIRouter:
    """The route `POST /resubmissions` of an app with such subscriptions; `reopen` gives a letter its body back."""
    router = APIRouter(tags=["resubmissions"])

    @router.post("/resubmissions")
    async def resubmit(what: Resubmission) -> JsonValue:
        """Handle a dead letter, with the id that it had; the answer is null, or the reason why it failed again."""
        rules = next(iter(in_lanes(one for one in subscriptions() if one.topic == what.topic).values()), [])
        if not rules:
            raise NotFoundError(
                f"app {app_id!r} does not subscribe to topic {what.topic!r} any more",
                mend="discard the dead letter, or bring the subscription back",
            )
        try:
            await _handle(rules, await reopen(what.message))
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is the reason
            _, verdict = outcome(error)
            told = failure_of(
                what.message.id,
                what.topic,
                app_id,
                error,
                attempt=1,
                verdict=verdict,
                resubmission=what.number,
            )
            return told.content
        return None

    return router


async def _handle(rules: Sequence[Subscription], message: Message) -> None:
    rule = matching(rules, message.to_cloudevent())
    if rule is None:
        raise InvalidInputError(f"no condition of the handlers of {rules[0].topic!r} takes the message any more")
    token = HANDED_IN.set(True)
    try:
        await rule.handler(message)
    finally:
        HANDED_IN.reset(token)
