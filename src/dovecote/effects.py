"""Effects: state that a tool's call changes, once, however often the call comes.

The row of a key holds its value and the outcomes of the calls that wrote it last, so that effect and record
are one write with one condition, which every store keeps.
"""

from typing import Any, Final

from pydantic import JsonValue

from dovecote.errors import ConflictError, DovecoteError, ToolError
from dovecote.ports import Item, State, Write

# More than the calls that can be under way at once: one that was cut off still finds its outcome.
_REMEMBERED: Final = 200


class RepeatedCallError(DovecoteError):
    """A call has written its key already; raised through the tool's function to end it. `outcome` is the record."""

    def __init__(self, call_id: str, key: str, outcome: JsonValue) -> None:
        super().__init__(f"call {call_id!r} has written {key!r} already")
        self.outcome = outcome


class Effects:
    """State that a call changes: one key, read now and written when the call succeeds.

    What must change together is one value under one key; it may be any JSON. Other keys may be read.
    """

    def __init__(self, state: State, call_id: str) -> None:
        self._state = state
        self._call_id = call_id
        self._read: dict[str, Item | None] = {}
        self._put: tuple[str, JsonValue] | None = None
        self._repeated: RepeatedCallError | None = None

    async def get(self, key: str, default: JsonValue = None) -> Any:
        """The value of a key, or the default."""
        if self._put and self._put[0] == key:
            return self._put[1]
        row = await self._row(key)
        return row["value"] if row else default

    def put(self, key: str, value: JsonValue) -> None:
        """Set a key when the call succeeds; the call is done anew if somebody else wrote it meanwhile."""
        if self._put and self._put[0] != key:
            raise ToolError(
                f"a call changes one key: this one has put {self._put[0]!r}, and now {key!r}",
                mend="keep under one key, as one value, what changes together",
            )
        self._put = (key, value)

    async def settle(self, outcome: JsonValue, *, failed: bool) -> bool:
        """Write what was put, with the outcome; nothing if the call failed.

        False if somebody else wrote the key meanwhile; RepeatedCallError if this call did, at an earlier try.
        """
        if self._repeated:
            raise self._repeated  # the function may have caught it
        if failed or self._put is None:
            return True
        key, value = self._put
        row = await self._row(key)
        item = self._read[key]
        calls = {**(row["calls"] if row else {}), self._call_id: outcome}
        kept = dict(list(calls.items())[-_REMEMBERED:])
        write = Write(
            _name(key), {"value": value, "calls": kept}, etag=item.etag if item else None, create=item is None
        )
        try:
            await self._state.write(write)
        except ConflictError:
            return False
        return True

    async def _row(self, key: str) -> dict[str, Any] | None:
        if key not in self._read:
            self._read[key] = await self._state.get(_name(key))
        item = self._read[key]
        row: dict[str, Any] | None = item.value if item else None
        if row and self._call_id in row["calls"]:
            self._repeated = RepeatedCallError(self._call_id, key, row["calls"][self._call_id])
            raise self._repeated
        return row


def _name(key: str) -> str:
    return f"effect:{key}"
