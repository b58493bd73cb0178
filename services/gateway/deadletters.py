"""The gateway's routes of dead letters: what no consumer could handle, and what is to become of it.

They are not public: where apps demand a token of their callers, these routes do as well.
"""

from typing import Annotated, Literal
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query
from pydantic import JsonValue

from dovecote import App
from dovecote.deadletters import DeadLetter, DeadLetterAction, DeadLetterPage, DeadLetterQuery, DeadLetterRow
from dovecote.values import RECORDER

_LIMIT = 75.0  # seconds for the recorder, which gives a consumer sixty


def router(gateway: App) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])

    async def ask(path: str, body: JsonValue = None, verb: Literal["GET", "POST"] = "POST") -> JsonValue:
        invoke = gateway.running.ports.invoke
        return await invoke(RECORDER, f"deadletters{path}", body, verb=verb, timeout=_LIMIT)

    async def act(what: str, action: DeadLetterAction) -> DeadLetterRow:
        return DeadLetterRow.model_validate(await ask(f"/{what}", action.model_dump(mode="json")))

    @router.get("")
    async def listing(wanted: Annotated[DeadLetterQuery, Query()]) -> DeadLetterPage:
        """Dead letters that nobody has acted on, newest first; `next` is the cursor of those that follow."""
        query = urlencode(wanted.model_dump(mode="json", exclude_none=True))
        return DeadLetterPage.model_validate(await ask(f"?{query}", verb="GET"))

    @router.post("/{message_id:path}/resubmit")
    async def resubmit(message_id: str, consumer: str = "", topic: str = "") -> DeadLetterRow:
        """Hand a dead letter, with its id, to the consumer that gave it up, and to no other.

        The answer says whether it was `handled`, or is `open` with one more reason.
        """
        return await act("resubmit", DeadLetterAction(id=message_id, consumer=consumer, topic=topic))

    @router.get("/{message_id:path}")
    async def show(message_id: str) -> DeadLetter:
        """A message that failed: itself, every reason, and how it stands at each consumer."""
        return DeadLetter.model_validate(await ask(f"/{quote(message_id, safe='')}", verb="GET"))

    @router.delete("/{message_id:path}")
    async def discard(message_id: str, consumer: str = "", why: str = "") -> DeadLetterRow:
        """Give a dead letter up for good; when and why is kept with it for 90 days."""
        return await act("discard", DeadLetterAction(id=message_id, consumer=consumer, why=why))

    return router
