"""`dovecote tail`: the messages of a system as they pass, from the taps of all its apps."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import httpx
from httpx_sse import EventSource, SSEError
from pydantic import JsonValue
from rich.text import Text

from dovecote.cli.errors import CommandError, NotRunningError
from dovecote.cli.gateway import is_loopback
from dovecote.guard import TOKEN
from dovecote.messages import NAMELESS
from dovecote.tap import Sighting

_PAUSE: Final = 0.5
_LONGEST_CONTENT: Final = 200
_REMEMBERED: Final = 10_000
# An app says something at least every 15 seconds, if only that it is there.
_TIMEOUT: Final = httpx.Timeout(10, read=60)


@dataclass
class _Seen:
    sent: int = 0
    shown: int = 0


class Once:
    """Tells which sightings are to be shown: a message is seen by who sends it, and by each who is handed it.

    It is shown once for each time that it is sent, whichever sighting comes first; and one that no app has sent is
    shown the first time that it is handed to one. What came without an id is shown whenever it is handed over.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], _Seen] = OrderedDict()

    def is_new(self, sighting: Sighting) -> bool:
        """Whether it is to be shown."""
        key = sighting.topic, sighting.message.id
        seen = self._seen[key] = self._seen.pop(key, _Seen())
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        seen.sent += sighting.sent
        nameless = sighting.message.id.startswith(NAMELESS)
        new = seen.shown < max(seen.sent, 1) or (nameless and not seen.sent)
        seen.shown += new
        return new


class Tail:
    """Looks on at apps, each an address by its name; `show` gets a message each, `note` what is in the way.

    `runs` says whether there is still a system, which is asked when one of its apps is gone; `token` is what apps
    demand of their sidecars, if they do.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - each is one plain choice of the caller
        self,
        apps: Mapping[str, str],
        patterns: Sequence[str],
        show: Callable[[Sighting], None],
        note: Callable[[str], None],
        runs: Callable[[], bool],
        token: str = "",
    ) -> None:
        self._headers = {TOKEN: token} if token else {}
        self._apps = apps
        self._patterns = patterns
        self._show = show
        self._note = note
        self._runs = runs
        self._once = Once()
        self._heard: set[str] = set()

    async def follow(self) -> None:
        """Look on until cancelled. Raises NotRunningError when the system ends, CommandError if it is refused."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, url in self._apps.items():
                    tasks.create_task(self._keep(name, url))
        except* CommandError as errors:
            raise errors.exceptions[0] from None

    async def _keep(self, name: str, url: str) -> None:
        lost = False
        # A proxy that the environment names is not for this machine's own addresses.
        proxied = not is_loopback(httpx.URL(url).host)
        async with httpx.AsyncClient(
            base_url=url, timeout=_TIMEOUT, trust_env=proxied, headers=self._headers
        ) as client:
            while True:
                try:
                    await self._look(name, client)
                    why, lost = "has ended", False
                except (httpx.TransportError, SSEError) as error:
                    why = f"does not answer ({error or type(error).__name__})"
                if not self._runs():
                    raise NotRunningError("the system has ended", mend="start it: make run")
                if not lost:
                    self._note(f"{name} {why}: what it sends now is not seen until it is back")
                lost = True
                await asyncio.sleep(_PAUSE)

    async def _look(self, name: str, client: httpx.AsyncClient) -> None:
        async with client.stream("GET", "/tap", params={"topic": list(self._patterns)}) as response:
            if not response.is_success:
                text = (await response.aread()).decode(errors="replace")
                raise CommandError(f"{name} answered {response.status_code}: {text[:500]}")
            self._tell_heard(name)
            async for event in EventSource(response).aiter_sse():
                self._take(name, Sighting.model_validate_json(event.data))

    def _tell_heard(self, name: str) -> None:
        before = len(self._heard)
        self._heard.add(name)
        if before < len(self._heard) == len(self._apps):
            self._note(f"Looking on at {', '.join(self._apps)}; Ctrl-C ends it.")

    def _take(self, name: str, sighting: Sighting) -> None:
        if sighting.missed:
            self._note(f"{sighting.missed} messages of {name} are not shown: they are read too slowly")
        if self._once.is_new(sighting):
            self._show(sighting)


def as_json(sighting: Sighting) -> str:
    """A message as a line of JSON."""
    told: dict[str, JsonValue] = {"topic": sighting.topic, "message": sighting.message.model_dump(mode="json")}
    return json.dumps(told, ensure_ascii=False)


def as_line(sighting: Sighting) -> Text:
    """A message as a line to read: time, topic, type and sender, and the beginning of its content."""
    message = sighting.message
    content = json.dumps(message.content, ensure_ascii=False)
    if len(content) > _LONGEST_CONTENT:
        content = f"{content[:_LONGEST_CONTENT]}…"
    at = message.timestamp.astimezone().strftime("%H:%M:%S")
    return Text.assemble(
        (at, "dim"), " ", (sighting.topic, "bold"), f" {message.type} {message.sender or '-'} ", (content, "dim")
    )
