"""What clients ask beside sending and receiving: to be let in, and to keep their locks."""

from __future__ import annotations

from typing import Any, Final

from proton import UNDESCRIBED, Array, Data

from tests.support.servicebus.codec import answer, decoded, moment
from tests.support.servicebus.store import Store

CBS: Final = "$cbs"
MANAGEMENT: Final = "/$management"
_LOST = 410


def answered(store: Store, address: str, raw: bytes) -> tuple[str, bytes]:
    """Return where the answer to a request goes, and the answer."""
    request = decoded(raw)
    return str(request.reply_to), _answer(store, address, request)


def _answer(store: Store, address: str, request: Any) -> bytes:
    operation = str((request.properties or {}).get("operation"))
    if address == CBS and operation == "put-token":
        return answer(request, 200, "OK")
    if operation == "com.microsoft:renew-lock":
        return _renewed(store, request)
    if operation == "com.microsoft:renew-session-lock":
        until = store.renew_session(address.removesuffix(MANAGEMENT), str(request.body["session-id"]))
        return answer(request, 200, "OK", {"expiration": moment(until)})
    return answer(request, 501, f"this stand-in does not know the operation {operation!r}")


def _renewed(store: Store, request: Any) -> bytes:
    until = [store.renew(token.bytes_le.decode()) for token in request.body["lock-tokens"]]
    kept = [time for time in until if time is not None]
    if len(kept) < len(until):
        return answer(request, _LOST, "the lock is lost")
    # The client takes an array and refuses a list.
    return answer(request, 200, "OK", {"expirations": Array(UNDESCRIBED, Data.TIMESTAMP, *map(moment, kept))})
