"""An index: ids in the order in which they came, in pages, so that its cost does not grow with their number."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, JsonValue

from dovecote import App
from dovecote.updates import update
from services.recorder.batches import Batches

PAGE: Final = 100
_LEFT: Final = 24 * 3600  # seconds that an emptied page stays, for who still thinks that it is the last one


class _Pages(BaseModel):
    """The pages with something in them, and the last one, which takes what comes."""

    numbers: list[int] = [0]


class _Page(BaseModel):
    """Ids by their numbers; `count` is how many there ever were."""

    count: int = 0
    ids: dict[int, str] = {}


@dataclass
class _Entry:
    id: str
    number: int = -1


class Index:
    """Numbers ids. The head names the pages that are not empty; one that was full is never written to again."""

    def __init__(self, app: App, name: str) -> None:
        self._app = app
        self._head = f"index:{name}"
        self._additions: Batches[_Entry] = Batches(self._add)
        self._removals: Batches[int] = Batches(self._remove)

    async def add(self, added: str) -> int:
        """The number of an id that is added; each is larger than those before."""
        entry = _Entry(added)
        await self._additions.add(self._head, entry)
        return entry.number

    async def remove(self, number: int) -> None:
        """Take out what has this number, if it is there."""
        await self._removals.add(self._key(number // PAGE), number)

    async def before(self, number: int | None) -> AsyncIterator[list[tuple[int, str]]]:
        """The pages of what came before a number, or of all: newest first, and so are the ids in them."""
        for page_number in reversed((await self._pages()).numbers):
            if number is not None and page_number * PAGE >= number:
                continue
            item = await self._app.running.ports.state.get(self._key(page_number))
            ids = _Page.model_validate(item.value).ids if item else {}
            yield [(at, ids[at]) for at in sorted(ids, reverse=True) if number is None or at < number]

    async def _add(self, _: str, entries: list[_Entry]) -> None:
        while entries:
            last = (await self._pages()).numbers[-1]
            del entries[: await self._append(last, entries)]
            if entries:
                await self._open_after(last)

    async def _append(self, page_number: int, entries: list[_Entry]) -> int:
        """Number as many entries as a page has room for; how many that are."""
        first = 0

        def appended(row: Any) -> JsonValue:
            nonlocal first
            page = _Page.model_validate(row or {})
            first = page.count
            taken = entries[: PAGE - first]
            page.ids |= {page_number * PAGE + at: entry.id for at, entry in enumerate(taken, first)}
            page.count += len(taken)
            return page.model_dump(mode="json") if taken else None

        await update(self._app.running.ports.state, self._key(page_number), appended)
        taken = entries[: PAGE - first]
        for at, entry in enumerate(taken, first):
            entry.number = page_number * PAGE + at
        return len(taken)

    async def _remove(self, key: str, numbers: list[int]) -> None:
        def without(row: Any) -> JsonValue:
            page = _Page.model_validate(row or {})
            left = {number: one for number, one in page.ids.items() if number not in numbers}
            return page.model_copy(update={"ids": left}).model_dump(mode="json") if left != page.ids else None

        page = _Page.model_validate(await update(self._app.running.ports.state, key, without) or {})
        if not page.ids and page.count == PAGE:
            await self._close(numbers[0] // PAGE)

    async def _pages(self) -> _Pages:
        item = await self._app.running.ports.state.get(self._head)
        return _Pages.model_validate(item.value) if item else _Pages()

    async def _open_after(self, last: int) -> None:
        def opened(row: Any) -> JsonValue:
            pages = _Pages.model_validate(row or {})
            if pages.numbers[-1] != last:
                return None
            pages.numbers.append(last + 1)
            return pages.model_dump(mode="json")

        await update(self._app.running.ports.state, self._head, opened)

    async def _close(self, number: int) -> None:
        """Forget a page that was full and is empty; the last one stays, since it says where to go on."""

        def closed(row: Any) -> JsonValue:
            pages = _Pages.model_validate(row or {})
            if number not in pages.numbers[:-1]:
                return None
            pages.numbers.remove(number)
            return pages.model_dump(mode="json")

        state = self._app.running.ports.state
        pages = _Pages.model_validate(await update(state, self._head, closed) or {})
        if number not in pages.numbers:
            await update(state, self._key(number), lambda row: row, ttl=_LEFT)

    def _key(self, page_number: int) -> str:
        return f"{self._head}:{page_number}"
