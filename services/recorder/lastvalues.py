"""Last values of retained topics, in the state store."""

from typing import Any

from pydantic import JsonValue

from dovecote import App
from dovecote.updates import update
from dovecote.values import Value


class LastValues:
    """Keeps the newest value of each topic, in whatever order and however often values come."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def keep(self, value: Value) -> None:
        """Return when the value is kept, unless a newer one is. One without content clears the topic."""

        def newer(row: Any) -> JsonValue:
            if row is not None and _age(Value.model_validate(row)) >= _age(value):
                return None
            # What clears a topic is kept as well: an older value that comes later must not count again.
            return value.model_dump(mode="json")

        await update(self._app.running.ports.state, _key(value.topic), newer)

    async def last(self, topic: str) -> Value | None:
        """The last value of a topic; None if there is none, or it was cleared."""
        item = await self._app.running.ports.state.get(_key(topic))
        value = Value.model_validate(item.value) if item else None
        return value if value and value.content is not None else None


def _age(value: Value) -> tuple[float, str]:
    # Two of the same moment are told apart by their ids, so that every order gives the same.
    return value.timestamp.timestamp(), value.id


def _key(topic: str) -> str:
    return f"value:{topic}"
