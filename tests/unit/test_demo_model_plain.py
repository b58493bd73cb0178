"""Markdown becomes sentences that can be quoted."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.demo_model.plain import sentences
from services.demo_model.words import content_words, names, stem


def texts(markdown: str) -> list[str]:
    return [found.text for found in sentences(markdown)]


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("A *very* **bold** [link](http://x.y) and `code`.", ["A very bold link and `code`."]),
        ("One. Two!  Three?", ["One.", "Two!", "Three?"]),
        ("See e.g. RFC 1 for it. Then stop.", ["See e.g. RFC 1 for it.", "Then stop."]),
        ("Use `a. B` here. `c` too.", ["Use `a. B` here.", "`c` too."]),
        ("- first item\n- second item;", ["first item.", "second item."]),
        ("Install it:\n\n```sh\n$ pip install x\n```", ["Install it: `pip install x`."]),
        ("It runs on:\n\n- Linux\n- macOS", ["It runs on: Linux, macOS."]),
        ("| Key | Use |\n|---|---|\n| `ttl` | Seconds to live |", ["Key: Use.", "`ttl`: Seconds to live."]),
        ("<p align='center'>Hello <b>you</b></p>\n\n<!-- not this -->", ["Hello you."]),
        ("!!! warning\n    Mind the gap.", ["Mind the gap."]),
        ("---\ntitle: x\n---\nBody text.", ["Body text."]),
        ("A line that\nis wrapped.", ["A line that is wrapped."]),
        ("***\n\n![badge](x.svg)", []),
    ],
)
def test_markup_is_taken_off_and_sentences_are_told_apart(markdown: str, expected: list[str]) -> None:
    assert texts(markdown) == expected


def test_headings_and_code_are_marked_as_what_they_are() -> None:
    found = sentences("## Retry policy\n\nThree attempts.\n\n```yaml\nmaxRetries: 3\nduration: 1s\n```")
    assert [one.kind for one in found] == ["heading", "prose", "code", "code"]


@settings(deadline=None, derandomize=True)
@given(st.text(max_size=400))
def test_every_text_has_sentences_that_end(text: str) -> None:
    for found in sentences(text):
        assert found.text.strip()
        assert "\n" not in found.text


@pytest.mark.parametrize(
    "family",
    [
        ["retry", "retries", "retried"],
        ["configure", "configured", "configuration"],
        ["message", "messages"],
        ["deliver", "delivery", "delivered", "deliveries"],
        ["stop", "stopped", "stopping"],
    ],
)
def test_forms_of_one_word_have_one_stem(family: list[str]) -> None:
    assert len({stem(word) for word in family}) == 1


def test_words_that_only_begin_alike_have_different_stems() -> None:
    assert len({stem(word) for word in ("capital", "capitalization", "process", "state")}) == 4


def test_content_words_keep_their_spelling_and_lose_the_small_words() -> None:
    assert content_words("How does Dapr's pub/sub use the dapr.yaml, and the PUB/SUB?") == [
        "Dapr",
        "pub/sub",
        "dapr.yaml",
    ]


def test_names_are_quoted_capitalised_or_spelled_like_identifiers() -> None:
    assert names('Where does Ada keep max_retries and the "dead letter topic"? In it.') == [
        "Ada",
        "max_retries",
        "dead letter topic",
    ]
