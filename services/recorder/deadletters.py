"""Dead letters: the message, with every reason that its consumer gave."""

from pydantic import BaseModel, JsonValue

from dovecote import App, Message, Write
from dovecote.errors import ConflictError


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
        key = f"deadletter:{message_id}"
        while True:
            item = await self._app.running.ports.state.get(key)
            letter = DeadLetter.model_validate(item.value) if item else DeadLetter(id=message_id)
            if message is not None:
                letter.message = message
            if isinstance(reason, dict) and reason not in letter.reasons:
                letter.reasons.append(reason)
            row = letter.model_dump(mode="json")
            try:
                await self._app.running.ports.state.write(
                    Write(key, row, etag=item.etag if item else None, create=item is None)
                )
            except ConflictError:
                continue  # message and reason came at once: look again
            return

    async def get(self, message_id: str) -> DeadLetter | None:
        """What is known of a message that failed."""
        item = await self._app.running.ports.state.get(f"deadletter:{message_id}")
        return DeadLetter.model_validate(item.value) if item else None
