"""Dead letters: the message, with every reason that its consumer gave."""

from typing import Any

from pydantic import BaseModel, JsonValue

from dovecote import App, Message
from dovecote.updates import update


class DeadLetter(BaseModel):
    """A message that a consumer gave up, or failed at; `message` is there once it is given up for good."""

    id: str
    message: Message | None = None
    reasons: list[dict[str, JsonValue]] = []


class DeadLetters:
    """Keeps dead letters, whichever of message and reason comes first."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def add(self, message_id: str, *, message: Message | None = None, reason: JsonValue = None) -> None:
        """Join a message or a reason with what is known of it."""

        def joined(row: Any) -> JsonValue:
            letter = DeadLetter(id=message_id) if row is None else DeadLetter.model_validate(row)
            if message is not None:
                letter.message = message
            if isinstance(reason, dict) and reason not in letter.reasons:
                letter.reasons.append(reason)
            return letter.model_dump(mode="json")

        await update(self._app.running.ports.state, _key(message_id), joined)

    async def get(self, message_id: str) -> DeadLetter | None:
        """What is known of a message that failed."""
        item = await self._app.running.ports.state.get(_key(message_id))
        return DeadLetter.model_validate(item.value) if item else None


def _key(message_id: str) -> str:
    return f"deadletter:{message_id}"
