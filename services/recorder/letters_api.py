"""The recorder's routes of dead letters, which the gateway offers to users."""

from typing import Annotated

from fastapi import APIRouter, Query

from dovecote.deadletters import DeadLetter, DeadLetterAction, DeadLetterPage, DeadLetterQuery, DeadLetterRow
from services.recorder.deadletters import DeadLetters
from services.recorder.resubmissions import Resubmissions


def router(letters: DeadLetters, resubmissions: Resubmissions) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/deadletters", tags=["dead letters"])

    @router.get("")
    async def listing(wanted: Annotated[DeadLetterQuery, Query()]) -> DeadLetterPage:
        """Dead letters that nobody has acted on, newest first."""
        return await letters.listing(wanted)

    @router.get("/{message_id:path}")
    async def show(message_id: str) -> DeadLetter:
        """A dead letter, with its reasons."""
        return await letters.get(message_id)

    @router.post("/resubmit")
    async def resubmit(action: DeadLetterAction) -> DeadLetterRow:
        """Hand a dead letter to its consumer again; how it stands then."""
        return await resubmissions.resubmit(action)

    @router.post("/discard")
    async def discard(action: DeadLetterAction) -> DeadLetterRow:
        """Give a dead letter up for good."""
        return await resubmissions.discard(action)

    return router
