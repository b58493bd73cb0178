"""The knowledge tools as agents call them, and the library of indexes behind them."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from dovecote.settings import get_settings
from dovecote.testing import Network
from services.contracts.documents import IndexReport, SearchResult
from services.directory.main import app as directory
from services.tools.knowledge.index import Index, Progress
from services.tools.knowledge.library import Library
from services.tools.knowledge.main import app as knowledge
from tests.support.waiting import wait_until


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# Doves\n\nThey coo at dawn.\n", encoding="utf-8")
    monkeypatch.setenv("DOVECOTE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DOVECOTE_DOCS", str(folder))
    get_settings.cache_clear()
    yield folder
    get_settings.cache_clear()


async def _call(function: str, arguments: dict[str, Any], docs: Path | str | None = None) -> dict[str, Any]:
    metadata: dict[str, JsonValue] = {"docs": str(docs)} if docs else {}
    async with Network([directory, knowledge]) as network:
        request: JsonValue = {"arguments": arguments, "metadata": metadata, "task_id": "t"}
        outcome = await network.invoke("knowledge", f"tools/{function}", request)
    assert isinstance(outcome, dict)
    return outcome


async def test_a_folder_never_seen_is_indexed_by_the_first_search(folder: Path) -> None:
    outcome = await _call("search", {"query": "when do doves coo?"})
    result = SearchResult.model_validate(outcome["result"])
    assert [passage.source for passage in result.passages] == ["a.md:3-3"]


async def test_the_folder_of_the_question_is_the_one_searched(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.md").write_text("Hawks coo never.", encoding="utf-8")
    outcome = await _call("search", {"query": "coo", "limit": 3}, docs=other)
    assert [passage["file"] for passage in outcome["result"]["passages"]] == ["b.md"]


async def test_an_index_call_reports_what_it_did(folder: Path) -> None:
    (folder / "bad.txt").write_bytes(b"\xff")
    report = IndexReport.model_validate((await _call("index", {}))["result"])
    assert (report.files, report.added, [row.file for row in report.unreadable]) == (1, 1, ["bad.txt"])


@pytest.mark.parametrize(("name", "words"), [("nowhere", "does not exist"), ("docs/a.md", "is not a folder")])
async def test_a_wrong_folder_is_named_to_the_model(folder: Path, tmp_path: Path, name: str, words: str) -> None:
    outcome = await _call("search", {"query": "doves"}, docs=tmp_path / name)
    assert outcome["error"]["type"] == "ToolError"
    assert repr(str(tmp_path / name)) in outcome["error"]["message"]
    assert words in outcome["error"]["message"]


async def test_a_folder_without_a_root_is_one_in_the_folder_of_documents(folder: Path) -> None:
    (folder / "hawks").mkdir()
    (folder / "hawks" / "b.md").write_text("Hawks coo never.", encoding="utf-8")
    outcome = await _call("search", {"query": "coo"}, docs="hawks")
    assert [passage["file"] for passage in outcome["result"]["passages"]] == ["b.md"]


@pytest.mark.parametrize("name", ["/", "..", "../other", "link", "no/../../other", "~"])
async def test_no_question_reads_outside_of_the_folder_that_bounds_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("DOVECOTE_DOCS_ROOT", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path / "other"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "secret.md").write_text("Doves carry secrets.", encoding="utf-8")
    (folder / "link").symlink_to(tmp_path / "other")
    get_settings.cache_clear()
    outcome = await _call("search", {"query": "secrets"}, docs=name)
    assert outcome["error"]["type"] == "ToolError"
    assert str(tmp_path / "other") not in outcome["error"]["message"]
    assert (await _call("search", {"query": "coo"}))["error"] is None


@pytest.mark.parametrize("arguments", [{}, {"query": "doves", "limit": 0}, {"query": "doves", "limit": 51}])
async def test_arguments_that_do_not_fit_are_refused(folder: Path, arguments: dict[str, Any]) -> None:
    assert (await _call("search", arguments))["error"]["type"] == "InvalidInputError"


async def _ignore(_text: str, _done: int, _total: int) -> None:
    pass


async def test_many_who_ask_at_once_share_the_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[Path] = []
    update = Index.update

    def counted(index: Index, progress: Callable[[Progress], None]) -> IndexReport:
        runs.append(folder)
        return update(index, progress)

    monkeypatch.setattr(Index, "update", counted)
    library = Library()
    reports = await asyncio.gather(*(library.index(None, _ignore) for _ in range(20)))
    assert [report.files for report in reports] == [1] * 20
    assert len(runs) == 2


async def test_a_long_run_tells_how_far_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = threading.Event()
    told: list[tuple[str, int, int]] = []

    def slow(_: Index, progress: Callable[[Progress], None]) -> None:
        progress(Progress(3, 9, "b.md"))
        assert heard.wait(30)

    async def tell(text: str, done: int, total: int) -> None:
        told.append((text, done, total))
        heard.set()

    monkeypatch.setattr(Index, "update", slow)
    await Library().index(None, tell)
    assert told[0] == ("indexing b.md", 3, 9)


async def test_a_call_that_is_given_up_stops_its_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started, ended = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def endless(_: Index, progress: Callable[[Progress], None]) -> None:
        loop.call_soon_threadsafe(started.set)
        try:
            wait_until(lambda: progress(Progress(0, 1, "a.md")), "the run is stopped", 30)
        finally:
            ended.set()

    monkeypatch.setattr(Index, "update", endless)
    call = asyncio.create_task(Library().index(None, _ignore))
    await asyncio.wait_for(started.wait(), 30)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert ended.is_set()
