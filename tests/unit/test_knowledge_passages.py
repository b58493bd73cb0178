"""Passages are cut where a reader would, and none of the text is lost."""

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from services.tools.knowledge.blocks import Block
from services.tools.knowledge.formats import read
from services.tools.knowledge.passages import Piece, cut


def _cut(markdown: str) -> list[Piece]:
    return list(cut(read("a.md", markdown.encode())))


def _words(count: int, word: str = "word") -> str:
    return " ".join([word] * count)


def test_a_heading_begins_a_passage_and_its_path_is_kept() -> None:
    pieces = _cut("# A\n\none\n\n## B\n\ntwo\n\n### C\n\nthree\n\n## D\n\nfour\n")
    assert [(piece.heading, piece.text) for piece in pieces] == [
        ("A", "one"),
        ("A > B", "two"),
        ("A > B > C", "three"),
        ("A > D", "four"),
    ]


def test_a_heading_with_nothing_under_it_can_still_be_found() -> None:
    pieces = _cut("# A\n\n## Empty\n\n## B\n\ntwo\n\n## Last\n")
    assert [(piece.heading, piece.text, piece.first_line) for piece in pieces] == [
        ("A > Empty", "Empty", 3),
        ("A > B", "two", 7),
        ("A > Last", "Last", 9),
    ]


def test_short_paragraphs_share_a_passage_with_its_lines() -> None:
    pieces = _cut(f"{_words(30, 'a')}\n\n{_words(40, 'b')}\n\n{_words(70, 'c')}\n")
    assert [(piece.first_line, piece.last_line) for piece in pieces] == [(1, 3), (5, 5)]
    assert pieces[0].text == f"{_words(30, 'a')}\n\n{_words(40, 'b')}"


def test_what_ends_in_a_colon_stays_with_what_follows() -> None:
    pieces = _cut(f"{_words(80)} this:\n\n```\nrun me\n```\n")
    assert len(pieces) == 1


def test_a_short_end_joins_what_is_before_it() -> None:
    pieces = _cut(f"{_words(70)}\n\n{_words(90)}\n\nThe end.\n")
    assert [len(piece.text.split()) for piece in pieces] == [70, 92]


def test_a_long_line_is_cut_between_sentences() -> None:
    sentence = f"{_words(49)} end."
    pieces = _cut(" ".join([sentence] * 9))
    assert [piece.text for piece in pieces] == [" ".join([sentence] * count) for count in (4, 4, 1)]
    assert {(piece.first_line, piece.last_line) for piece in pieces} == {(1, 1)}


def test_long_code_is_cut_between_lines() -> None:
    pieces = _cut("```\n" + f"{_words(50)}\n" * 7 + "```\n")
    assert [(piece.first_line, piece.last_line) for piece in pieces] == [(1, 4), (5, 9)]


def test_a_text_without_spaces_is_cut_all_the_same() -> None:
    pieces = _cut("x" * 5000)
    assert "".join(piece.text for piece in pieces) == "x" * 5000
    assert max(len(piece.text) for piece in pieces) <= 2000


def test_a_page_begins_a_passage() -> None:
    pieces = list(cut([Block("one", 1, 1, page=1), Block("two", 1, 1, page=2)]))
    assert [(piece.page, piece.text) for piece in pieces] == [(1, "one"), (2, "two")]


def test_parts_of_a_text_that_was_set_anew_name_all_its_lines() -> None:
    page = "<p>" + "\n".join(_words(50) + "." for _ in range(6)) + "</p>"
    pieces = list(cut(read("a.html", page.encode())))
    assert [(piece.first_line, piece.last_line) for piece in pieces] == [(1, 6), (1, 6)]


_HEADINGS = st.builds(lambda level, text: (level, text), st.integers(1, 6), st.text("h ", max_size=9))
_BODIES = st.builds(
    lambda seed, count: (0, (seed * count)[:3000]), st.text("ab .\n", max_size=40), st.integers(1, 99)
)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.one_of(_HEADINGS, _BODIES), max_size=8))
def test_no_text_is_lost_and_no_passage_is_too_long(parts: list[tuple[int, str]]) -> None:
    blocks, line = [], 1
    for level, text in parts:
        if text.strip():
            blocks.append(Block(text, line, line + text.count("\n"), level))
            line += text.count("\n") + 2
    bodies = [piece for piece in cut(blocks) if "h" not in piece.text]
    assert _letters(piece.text for piece in bodies) == _letters(block.text for block in blocks if not block.level)
    assert all(len(piece.text.split()) <= 220 for piece in bodies)
    assert all(before.first_line <= after.first_line for before, after in pairwise(bodies))


def _letters(texts: Iterable[str]) -> str:
    return "".join("".join(text.split()) for text in texts)
