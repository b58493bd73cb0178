"""The wire formats are what they were: a change of one is seen, and meant."""

import json

import pytest

from dovecote import Message
from tests.contracts.schemas import EXAMPLE, GOLDEN, schemas, text_of

MEND = "if it is meant: python -m tests.contracts.schemas, and a line in CHANGELOG.md"


@pytest.mark.parametrize("file", sorted(schemas()))
def test_a_wire_format_is_what_it_was(file: str) -> None:
    assert (GOLDEN / file).read_text() == text_of(schemas()[file]), f"{file} has changed; {MEND}"


def test_every_format_that_is_kept_is_still_there() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(schemas()), MEND


def test_a_message_of_an_earlier_release_is_still_read() -> None:
    event = json.loads((GOLDEN / "message.cloudevent.json").read_text())
    assert Message.from_cloudevent(event) == EXAMPLE
