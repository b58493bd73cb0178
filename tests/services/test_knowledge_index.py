"""An index follows its folder: only what changed is read, whatever interrupts it."""

import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from services.contracts.documents import Unreadable
from services.tools.knowledge.index import MAX_BYTES, Index, Progress
from services.tools.knowledge.store import BrokenIndexError
from tests.support.waiting import wait_until

OLD = time.time() - 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    return folder


@pytest.fixture
def index(folder: Path, tmp_path: Path) -> Index:
    return Index(folder, tmp_path / "data" / "index.db")


def _write(path: Path, text: str, modified: float = OLD) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (modified, modified))


def _found(index: Index, query: str) -> list[str]:
    return [passage.file for passage in index.search(query, 10)]


def test_added_changed_and_removed_files_are_followed(index: Index, folder: Path) -> None:
    for name in ("a", "b", "sub/c"):
        _write(folder / f"{name}.md", f"# Title\n\nabout {name}birds\n")
    first = index.update()
    assert (first.files, first.passages, first.added) == (3, 3, 3)
    _write(folder / "a.md", "# Title\n\nabout hawks\n", OLD + 1)
    (folder / "b.md").unlink()
    _write(folder / "d.txt", "about doves")
    second = index.update()
    assert (second.files, second.added, second.changed, second.removed, second.unchanged) == (3, 1, 1, 1, 1)
    assert _found(index, "hawks") == ["a.md"]
    assert _found(index, "abirds") == _found(index, "bbirds") == []
    assert _found(index, "cbirds") == ["sub/c.md"]


def test_a_file_that_was_only_touched_is_not_read_again(index: Index, folder: Path) -> None:
    _write(folder / "a.md", "doves")
    index.update()
    os.utime(folder / "a.md", (OLD + 5, OLD + 5))
    assert index.update().unchanged == 1


def test_a_change_in_the_same_instant_and_of_the_same_size_is_seen(index: Index, folder: Path) -> None:
    now = time.time()
    _write(folder / "a.md", "doves", now)
    index.update()
    _write(folder / "a.md", "hawks", now)
    assert index.update().changed == 1
    assert _found(index, "hawks") == ["a.md"]


def test_what_cannot_be_read_is_named_and_the_rest_is_indexed(index: Index, folder: Path) -> None:
    _write(folder / "good.md", "doves")
    (folder / "bad.txt").write_bytes(b"\xff\xfe\xfd")
    (folder / "broken.pdf").write_bytes(b"no pdf")
    (folder / "huge.txt").write_bytes(b"x" * (MAX_BYTES + 1))
    (folder / "gone.md").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.md")
    (folder / os.fsdecode(b"\xff.md")).touch()
    report = index.update()
    assert (report.files, report.added) == (1, 1)
    reasons = {row.file: row.reason for row in report.unreadable}
    assert reasons.keys() == {"bad.txt", "broken.pdf", "huge.txt", "gone.md", "pipe.md", "\\xff.md"}
    assert reasons["huge.txt"] == "it is larger than 20 MB: split it"
    assert reasons["gone.md"] == "no such file or directory"
    assert reasons["pipe.md"] == "it is no regular file"
    assert index.update().unreadable == report.unreadable


def test_a_file_that_becomes_unreadable_leaves_the_index_and_comes_back(index: Index, folder: Path) -> None:
    _write(folder / "a.md", "doves")
    index.update()
    (folder / "a.md").write_bytes(b"doves \xff")
    broken = index.update()
    assert (broken.files, broken.changed, len(broken.unreadable)) == (0, 0, 1)
    assert _found(index, "doves") == []
    _write(folder / "a.md", "doves again")
    assert index.update().added == 1
    assert _found(index, "doves") == ["a.md"]


def test_a_folder_that_may_not_be_listed_is_named(
    index: Index, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(folder / "a.md", "doves")
    _write(folder / "locked" / "b.md", "doves")
    scan = os.scandir

    def refuse(path: Path) -> object:
        if path.name == "locked":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert index.update().unreadable == [Unreadable(file="locked", reason="permission denied")]


def test_hidden_folders_dependencies_and_circles_of_links_are_left_out(index: Index, folder: Path) -> None:
    _write(folder / "a.md", "doves")
    for name in (".git/x.md", "node_modules/x.md", ".hidden.md"):
        _write(folder / name, "doves")
    (folder / "sub").mkdir()
    (folder / "sub" / "circle").symlink_to(folder)
    (folder / "loop").symlink_to(folder / "loop")
    _write(folder.parent / "elsewhere" / "b.md", "doves")
    (folder / "linked").symlink_to(folder.parent / "elsewhere")
    (folder / "again").symlink_to(folder.parent / "elsewhere")
    assert index.update().files == 2
    assert _found(index, "doves") == ["a.md", "again/b.md"]


def test_progress_names_each_file(index: Index, folder: Path) -> None:
    for number in range(3):
        _write(folder / f"{number}.md", "doves")
    told: list[Progress] = []
    index.update(told.append)
    assert told == [Progress(0, 3, "0.md"), Progress(1, 3, "1.md"), Progress(2, 3, "2.md")]


def test_an_interrupted_run_goes_on_where_it_was(index: Index, folder: Path) -> None:
    for number in range(450):
        _write(folder / f"{number:03}.md", "doves")

    def stop(progress: Progress) -> None:
        if progress.done == 420:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.update(stop)
    before = index.complete
    report = index.update()
    assert (before, index.complete) == (False, True)
    assert report.files == 450
    assert report.unchanged >= 400


def _index_slowly(folder: Path, database: Path, reached: "multiprocessing.Queue[int]") -> None:
    Index(folder, database).update(lambda progress: reached.put(progress.done))


def test_a_run_that_was_killed_leaves_a_good_index(tmp_path: Path, folder: Path) -> None:
    for number in range(300):
        _write(folder / f"{number:03}.md", f"# Doves\n\n{'coo ' * 100}\n")
    spawn = multiprocessing.get_context("spawn")
    reached: multiprocessing.Queue[int] = spawn.Queue()
    database = tmp_path / "index.db"
    process = spawn.Process(target=_index_slowly, args=(folder, database, reached))
    process.start()
    while reached.get(timeout=30) < 230:
        pass
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    report = Index(folder, database).update()
    assert (report.files, report.passages) == (300, 300)
    assert report.unchanged >= 200
    with sqlite3.connect(database) as connection:
        connection.execute("INSERT INTO terms (terms) VALUES ('integrity-check')")
    connection.close()


def test_a_second_run_waits_for_the_first_and_says_so(index: Index, folder: Path) -> None:
    _write(folder / "a.md", "doves")
    inside, go_on = threading.Event(), threading.Event()

    def hold(_: Progress) -> None:
        inside.set()
        assert go_on.wait(30)

    first = threading.Thread(target=index.update, args=(hold,))
    first.start()
    assert inside.wait(30)
    told: list[Progress] = []
    reports = []
    second = threading.Thread(target=lambda: reports.append(index.update(told.append)))
    second.start()
    wait_until(lambda: told, "the second run says that it waits")
    go_on.set()
    first.join(30)
    second.join(30)
    assert told[0] == Progress(0, 0, "waiting for another run on this folder")
    assert reports[0].unchanged == 1


def test_readers_go_on_while_an_update_runs(index: Index, folder: Path) -> None:
    _write(folder / "a.md", "doves")
    index.update()
    _write(folder / "b.md", "doves")
    seen: list[list[str]] = []
    index.update(lambda _: seen.append(_found(index, "doves")))
    assert seen == [["a.md"], ["a.md"]]
    assert _found(index, "doves") == ["a.md", "b.md"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="nowhere"):
        Index(tmp_path / "nowhere", tmp_path / "index.db").update()


def test_a_damaged_database_is_named_with_the_mend(tmp_path: Path, folder: Path) -> None:
    database = tmp_path / "index.db"
    database.write_bytes(b"something else entirely " * 100)
    with pytest.raises(BrokenIndexError, match="delete it"):
        Index(folder, database).update()


def test_a_thousand_files_are_indexed_and_then_known(index: Index, folder: Path) -> None:
    for number in range(1000):
        text = f"# Loft {number}\n\nBird number {number} is ringed {number * 7}.\n\n## Food\n\n{'maize ' * 40}\n"
        _write(folder / f"{number % 20}" / f"{number}.md", text)
    assert index.update().passages == 2000
    again = index.update()
    assert again.unchanged == 1000
    assert again.seconds < 2
    assert _found(index, "which bird is ringed 6993")[0] == "19/999.md"
