"""`dovecote up`: what it makes of the launcher's system and of the first answer."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dovecote.cli import commands, launcher, main
from dovecote.cli.asking import Inquiry
from dovecote.cli.errors import CommandError

CHECKOUT = Path(__file__).resolve().parents[2]
URL = "http://127.0.0.1:21210"


class Launcher:
    """Stands in for the launcher and the asking: becomes ready or not, and the question is answered or not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ready = True
        self.status = 0
        self.failure: CommandError | None = None
        self.started: dict[str, Any] = {}
        self.asked: list[tuple[str, Inquiry]] = []
        monkeypatch.setattr(launcher, "serve", self.serve)
        monkeypatch.setattr(commands, "answer", self.answer)
        monkeypatch.chdir(CHECKOUT)

    def serve(self, checkout: Path, on_ready: Callable[[str], None], **options: Any) -> int:
        self.started = {"checkout": checkout, **options}
        if self.ready:
            on_ready(URL)
        return self.status

    def answer(self, url: str, inquiry: Inquiry) -> None:
        self.asked.append((url, inquiry))
        if self.failure:
            raise self.failure


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Launcher:
    return Launcher(monkeypatch)


def up(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["up", *arguments])
    return int(end.value.code or 0)


def test_the_first_answer_comes_with_its_time_the_address_and_what_to_try_next(
    stand_in: Launcher, capfd: pytest.CaptureFixture[str]
) -> None:
    assert up() == 0
    out = capfd.readouterr().out
    assert re.search(r"^Answered \d+\.\d s after the start\.$", out, re.MULTILINE)
    assert f"The gateway is at {URL}" in out
    assert 'make ask Q="…"' in out
    assert stand_in.asked == [(URL, Inquiry("How do I change the broker?"))]
    assert stand_in.started == {"checkout": CHECKOUT, "broker": None, "llm": None, "once": False}


def test_choices_are_handed_on(stand_in: Launcher, tmp_path: Path) -> None:
    assert up("--broker=redis", "--llm=openai", f"--docs={tmp_path}", "--question=Why?", "--once") == 0
    assert stand_in.asked == [(URL, Inquiry("Why?", str(tmp_path)))]
    assert stand_in.started == {"checkout": CHECKOUT, "broker": "redis", "llm": "openai", "once": True}


def test_once_fails_with_the_task(stand_in: Launcher, capfd: pytest.CaptureFixture[str]) -> None:
    stand_in.failure = CommandError("ModelError: bad key", mend="set it")
    assert up("--once") == 1
    out, err = capfd.readouterr()
    assert err == "error: ModelError: bad key\nmend:  set it\n"
    assert "Answered" not in out


def test_a_failed_first_question_does_not_end_the_system(
    stand_in: Launcher, capfd: pytest.CaptureFixture[str]
) -> None:
    stand_in.failure = CommandError("ModelError: bad key")
    assert up() == 0
    assert "The gateway is at" in capfd.readouterr().out


def test_once_that_is_interrupted_before_the_answer_says_so_by_its_status(stand_in: Launcher) -> None:
    stand_in.ready = False
    assert up("--once") == 130


def test_a_system_that_does_not_become_ready_fails(stand_in: Launcher) -> None:
    stand_in.ready = False
    stand_in.status = 1
    assert up("--once") == 1


def test_an_empty_first_question_is_refused_before_anything_starts(stand_in: Launcher) -> None:
    assert up("--question", " ") == 2
    assert stand_in.started == {}


def test_a_launcher_that_cannot_start_says_why(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(CHECKOUT)
    assert main(["up", "--broker", "carrier-pigeon"]) == 1
    assert "error: there is no 'carrier-pigeon' in " in capfd.readouterr().err
