"""Errors between apps: application/problem+json (RFC 9457) out, and the same error in again."""

import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from pydantic import JsonValue
from pydantic_core import from_json

from dovecote.errors import DovecoteError, InvalidInputError, NotFoundError, UnavailableError, named, outcome

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
# Of the statuses that blame the request, those that say: not now.
_LATER: Final = frozenset({408, 425, 429})


def faults(rows: Iterable[Mapping[str, Any]]) -> str:
    """What the rows of a validation error's `errors()` say, each with its place in dots."""
    return "; ".join(f"{'.'.join(map(str, row['loc'])) or 'it'}: {row['msg']}" for row in rows)


def to_problem(error: Exception) -> tuple[int, dict[str, JsonValue]]:
    """HTTP status and problem body of an error; one that is not ours is logged and not told."""
    status, _verdict = outcome(error)
    if not isinstance(error, DovecoteError):
        log.error("unexpected error", exc_info=error)
        return status, _body("InternalError", status, "an unexpected error; the log has it")
    body = _body(type(error).__name__, status, str(error))
    if error.mend:
        body["mend"] = error.mend
    return status, body


def read_answer(where: str, status: int, body: bytes) -> JsonValue:
    """The JSON that an app answered with, or the error that its problem body names, raised.

    `where` says in an error who answered. A failure without a problem body is the caller's where the status
    says so (4xx), else UnavailableError.
    """
    try:
        value: JsonValue = from_json(body) if body else None
    except ValueError:
        value = {"detail": body[:300].decode(errors="replace")}
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return value
    problem = value if isinstance(value, dict) else {}
    text = str(problem.get("detail") or problem.get("message") or value)
    if problem.get("title"):
        raise named(str(problem["title"]), text, str(problem.get("mend") or ""))
    text = f"{where} answered {status}: {text}"
    if status == HTTPStatus.NOT_FOUND:
        raise NotFoundError(text)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _LATER:
        raise InvalidInputError(text)
    raise UnavailableError(text)


def _body(title: str, status: int, detail: str) -> dict[str, JsonValue]:
    return {"type": f"urn:dovecote:{title}", "title": title, "status": status, "detail": detail}
