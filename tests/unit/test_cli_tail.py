"""`dovecote tail`: what it shows of what it sees."""

import json
from pathlib import Path

import pytest

from dovecote import Message, MessageType
from dovecote.cli import main
from dovecote.cli.tailing import Once, as_json, as_line
from dovecote.tap import Sighting

pytestmark = pytest.mark.promise("ARG-12")


def sighting(message_id: str, *, sent: bool, topic: str = "a/b") -> Sighting:
    return Sighting(topic=topic, sent=sent, message=Message(id=message_id, type=MessageType.EVENT, sender="ann"))


@pytest.mark.parametrize(
    ("seen", "shown"),
    [
        (["sent one", "taken one", "taken one"], 1),
        (["taken one", "sent one", "taken one"], 1),
        (["taken one", "taken one"], 1),
        (["sent one", "taken one", "sent one", "taken one"], 2),
        (["taken one", "sent one", "sent one"], 2),
        (["sent one", "sent two", "taken two", "taken one"], 2),
        (["taken nameless-1", "taken nameless-1"], 2),
        (["sent nameless-1", "taken nameless-1"], 1),
    ],
)
def test_a_message_is_shown_as_often_as_it_is_sent(seen: list[str], shown: int) -> None:
    once = Once()
    rows = [row.split() for row in seen]
    assert sum(once.is_new(sighting(name, sent=way == "sent")) for way, name in rows) == shown


def test_one_id_on_two_topics_is_two_messages() -> None:
    once = Once()
    assert once.is_new(sighting("one", sent=True, topic="a"))
    assert once.is_new(sighting("one", sent=True, topic="b"))


def test_a_line_has_topic_type_sender_and_the_beginning_of_the_content() -> None:
    message = Message(type=MessageType.TASK, sender="ann", content={"text": "[red]" + "x" * 300})
    line = as_line(Sighting(topic="a/b", sent=True, message=message)).plain
    assert " a/b task ann " in line
    assert '{"text": "[red]xxx' in line
    assert line.endswith("x…")
    full = json.loads(as_json(Sighting(topic="a/b", sent=True, message=message)))
    assert full["topic"] == "a/b"
    assert Message.model_validate(full["message"]) == message


def test_a_wrong_pattern_is_wrong_usage(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["tail", "agent/#/ask"])
    assert end.value.code == 2
    assert "is no pattern of topics" in capfd.readouterr().err


def test_without_a_system_it_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dapr.yaml").touch()
    (tmp_path / "deploy" / "local").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert main(["tail"]) == 3
    assert "no system runs here\nmend:  start it: make run" in capfd.readouterr().err
