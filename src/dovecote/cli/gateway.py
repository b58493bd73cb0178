"""The gateway, as the command sees it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from ipaddress import ip_address
from typing import Any, Self
from urllib.parse import quote

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError
from pydantic import TypeAdapter

from dovecote.cli.errors import CommandError, NotRunningError, UnavailableError
from dovecote.deadletters import DeadLetter, DeadLetterPage, DeadLetterQuery, DeadLetterRow
from dovecote.directory import Presence
from dovecote.guard import TOKEN
from dovecote.results import TaskEvent, TaskResult

_PAUSE = 0.5
# The gateway says something at least every 15 seconds, if only that the task still runs.
_TIMEOUT = httpx.Timeout(10, read=60)
_APPS = TypeAdapter(list[Presence])
_LETTERS = "/v1/dead-letters"
# A consumer has a minute to handle a dead letter.
_RESUBMITTING = httpx.Timeout(10, read=90)


class Gateway:
    """A client of the gateway at `url`; an async context manager. `transport` is for tests.

    `token` is what apps demand of their callers, if they do, for all that is not public.
    """

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None, *, token: str = "") -> None:
        self.url = url
        # A proxy that the environment names is not for this machine's own addresses.
        proxied = not is_loopback(httpx.URL(url).host)
        headers = {TOKEN: token} if token else {}
        self._client = httpx.AsyncClient(
            base_url=url, timeout=_TIMEOUT, trust_env=proxied, transport=transport, headers=headers
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._client.aclose()

    async def ask(self, question: str, docs: str | None = None) -> str:
        """Start a task; returns its id. NotRunningError if nothing answers, CommandError if it is refused."""
        body = {"question": question, **({"docs": docs} if docs else {})}
        return str(TaskResult.model_validate(await self._json("POST", "/tasks", body)).task_id)

    async def agents(self) -> list[Presence]:
        """Every app that ever announced itself, with the replicas of it that run now."""
        return _APPS.validate_python(await self._json("GET", "/agents"))

    async def dead_letters(self, wanted: DeadLetterQuery) -> DeadLetterPage:
        """A part of the listing of dead letters that nobody has acted on."""
        query = wanted.model_dump(mode="json", exclude_none=True)
        return DeadLetterPage.model_validate(await self._json("GET", _LETTERS, params=query))

    async def dead_letter(self, message_id: str) -> DeadLetter:
        """A message that failed, with its reasons; CommandError if there is none."""
        return DeadLetter.model_validate(await self._json("GET", _letter(message_id)))

    async def resubmit(self, message_id: str, consumer: str = "", topic: str = "") -> DeadLetterRow:
        """Hand a dead letter to its consumer again; how it stands then. CommandError if it is refused."""
        params = {"consumer": consumer, "topic": topic}
        answer = await self._json("POST", f"{_letter(message_id)}/resubmit", params=params, timeout=_RESUBMITTING)
        return DeadLetterRow.model_validate(answer)

    async def discard(self, message_id: str, consumer: str = "", why: str = "") -> DeadLetterRow:
        """Give a dead letter up for good. CommandError if it is refused."""
        params = {"consumer": consumer, "why": why}
        return DeadLetterRow.model_validate(await self._json("DELETE", _letter(message_id), params=params))

    async def follow(self, task_id: str, lost: Callable[[str], None]) -> AsyncGenerator[TaskEvent | TaskResult]:
        """What happens to a task, as it happens; the result comes last.

        Where the connection is lost, `lost` is told why, and it is made again from where it broke off, without
        end: the caller sets the limit. CommandError if there is no such task.
        """
        seen = ""
        while True:
            try:
                async with aclosing(self._events(task_id, seen)) as events:
                    async for event in events:
                        seen = event.id or seen
                        if event.event == "result":
                            yield TaskResult.model_validate_json(event.data)
                            return
                        yield TaskEvent.model_validate_json(event.data)
                lost("the gateway ended the stream before the answer")
            except (httpx.TransportError, SSEError, UnavailableError) as error:
                lost(f"the gateway does not answer ({error or type(error).__name__})")
            await asyncio.sleep(_PAUSE)

    async def _events(self, task_id: str, seen: str) -> AsyncGenerator[ServerSentEvent]:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": seen} if seen else {})}
        async with self._client.stream("GET", f"/tasks/{task_id}/events", headers=headers) as response:
            await _checked(response)
            async for event in EventSource(response).aiter_sse():
                # Comments come as events without data once an id is known, where the standard says they are none.
                if event.data:
                    yield event

    async def _json(self, verb: str, path: str, body: Any = None, **more: Any) -> Any:
        try:
            response = await self._client.request(verb, path, json=body, **more)
        except httpx.TransportError as error:
            raise NotRunningError(
                f"nothing answers at {self.url} ({error or type(error).__name__})", mend="start it: make run"
            ) from error
        await _checked(response)
        return response.json()


def _letter(message_id: str) -> str:
    return f"{_LETTERS}/{quote(message_id, safe='')}"


async def _checked(response: httpx.Response) -> None:
    """Raise what a refusal says in its problem details (RFC 9457); UnavailableError if it may pass."""
    if response.is_success:
        return
    await response.aread()
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        problem = response.json()
        text, mend = problem.get("detail") or problem.get("title", ""), problem.get("mend", "")
    else:
        text, mend = response.text[:500], ""
    kind = UnavailableError if response.is_server_error else CommandError
    raise kind(f"the gateway answered {response.status_code}: {text}", mend=mend)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
