"""The folders that questions are asked about, each with its index."""

import asyncio
import hashlib
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from dovecote import ToolError
from dovecote.settings import get_settings
from services.contracts.documents import IndexReport, Passage
from services.tools.knowledge.index import Index, Progress

# The number is that of the database's layout: another layout is another file.
_DATABASE = "knowledge/{}-1.db"
_TELL_EVERY = 0.5

Tell = Callable[[str, int, int], Awaitable[None]]


class _Folder:
    """One index: searches side by side, updates one after the other."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._updating = asyncio.Lock()
        self._last: tuple[float, IndexReport] | None = None

    async def search(self, query: str, limit: int, tell: Tell) -> list[Passage]:
        if not await asyncio.to_thread(lambda: self._index.complete):
            await self.update(tell)
        return await asyncio.to_thread(self._index.search, query, limit)

    async def update(self, tell: Tell) -> IndexReport:
        asked = time.monotonic()
        async with self._updating:
            # Of many who wait, one does the work: what began after they asked has seen all that they know of.
            if self._last is None or self._last[0] < asked:
                began = time.monotonic()
                self._last = (began, await self._update(tell))
            return self._last[1]

    async def _update(self, tell: Tell) -> IndexReport:
        latest = Progress(0, 0, "")
        stopped = threading.Event()

        def note(progress: Progress) -> None:
            nonlocal latest
            if stopped.is_set():
                raise InterruptedError("the index run was stopped")
            latest = progress

        work = asyncio.create_task(asyncio.to_thread(self._index.update, note))
        try:
            while not (await asyncio.wait({work}, timeout=_TELL_EVERY))[0]:
                await tell(f"indexing {latest.current}", latest.done, latest.total)
        finally:
            # Whoever is stopped stops the thread too, and does not leave it behind.
            stopped.set()
            await asyncio.gather(work, return_exceptions=True)
        return work.result()


class Library:
    """Indexes by folder, opened when first asked for; all work on files is done in threads."""

    def __init__(self) -> None:
        self._folders: dict[Path, _Folder] = {}

    async def index(self, docs: str | None, tell: Tell) -> IndexReport:
        """Bring the index of a folder up to date, telling how far it is in words, files done and files in all.

        `docs` names the folder, relative to the one of DOVECOTE_DOCS, which it is without a name. ToolError if it
        does not exist, or is not in the one of DOVECOTE_DOCS_ROOT.
        """
        return await self._open(docs).update(tell)

    async def search(self, docs: str | None, query: str, limit: int, tell: Tell) -> list[Passage]:
        """At most `limit` passages of a folder that fit the query, best first; a new folder is indexed first."""
        return await self._open(docs).search(query, limit, tell)

    def _open(self, docs: str | None) -> _Folder:
        settings = get_settings()
        folder = settings.docs.joinpath(docs or "").expanduser().resolve()
        root = settings.docs_root.resolve()
        if not folder.is_relative_to(root):
            # Before anything else: nobody is to learn what there is in other places.
            named = docs or str(settings.docs)
            raise ToolError(f"the folder of documents {named!r} is not in {str(root)!r}: name one that lies there")
        if not folder.is_dir():
            state = "is not a folder" if folder.exists() else "does not exist"
            raise ToolError(f"the folder of documents {str(folder)!r} {state}: name one that holds documents")
        if folder not in self._folders:
            name = hashlib.sha256(bytes(folder)).hexdigest()[:24]
            self._folders[folder] = _Folder(Index(folder, settings.data.resolve() / _DATABASE.format(name)))
        return self._folders[folder]
