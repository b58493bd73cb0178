"""Last values of retained topics, in the state store."""

from dovecote import App, Write
from dovecote.errors import ConflictError
from dovecote.values import Value


class LastValues:
    """Keeps the newest value of each topic, in whatever order and however often values come."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def keep(self, value: Value) -> None:
        """Return when the value is kept, unless a newer one is. One without content clears the topic."""
        state = self._app.running.ports.state
        while True:
            item = await state.get(_key(value.topic))
            if item and _age(Value.model_validate(item.value)) >= _age(value):
                return
            row = value.model_dump(mode="json")
            try:
                # What clears a topic is kept as well: an older value that comes later must not count again.
                etag = item.etag if item else None
                await state.write(Write(_key(value.topic), row, etag=etag, create=item is None))
            except ConflictError:
                continue  # another value of the topic came at once: look again
            return

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
