"""What is logged, for people and for collectors of logs."""

import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest

from dovecote.logs import JsonFormatter, configure


@pytest.fixture(autouse=True)
def _root() -> Iterator[None]:
    """The root logger as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def _configured(form: Literal["text", "json"]) -> None:
    logging.getLogger().handlers.clear()  # those of the tests themselves
    configure("writer", "info", form)


def test_a_line_of_json_says_when_how_grave_where_and_what(capsys: pytest.CaptureFixture[str]) -> None:
    _configured("json")
    logging.getLogger("dovecote.app").warning("%d messages\nin two lines, naïve", 3)
    logging.getLogger("dovecote.app").debug("not told")
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert told.pop("time").endswith("+00:00")
    assert told == {
        "level": "warning",
        "logger": "dovecote.app",
        "message": "3 messages\nin two lines, naïve",
        "app": "writer",
    }


def test_a_traceback_is_in_the_same_line() -> None:
    error = ValueError("no")
    record = logging.LogRecord("a", logging.ERROR, "a.py", 1, "failed", None, (ValueError, error, None))
    line = JsonFormatter("writer").format(record)
    assert "\n" not in line
    traceback = json.loads(line)["traceback"]
    assert traceback == "ValueError: no"


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    _configured("text")
    logging.getLogger("dovecote.app").info("all is well")
    assert capsys.readouterr().err.endswith(" INFO dovecote.app: all is well\n")
