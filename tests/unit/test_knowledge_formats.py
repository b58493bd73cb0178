"""Documents are read into blocks with the lines they stand on, or refused with a reason."""

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfWriter

from services.tools.knowledge.blocks import UnreadableError
from services.tools.knowledge.formats import is_document, read

DOCUMENTS = Path(__file__).parent.parent / "fixtures" / "documents"


def _blocks(name: str) -> list[tuple[str, int, int, int]]:
    blocks = read(name, (DOCUMENTS / name).read_bytes())
    return [(block.text, block.level, block.first_line, block.last_line) for block in blocks]


def test_markdown_blocks_are_the_lines_of_the_source() -> None:
    lines = (DOCUMENTS / "guide.md").read_text(encoding="utf-8").split("\n")
    blocks = _blocks("guide.md")
    verbatim = [block for block in blocks if not block[1] and "Maize" not in block[0]]
    assert [(text, "\n".join(lines[first - 1 : last])) for text, _, first, last in verbatim] == [
        (text, text) for text, *_ in verbatim
    ]
    assert ("2. Carry them a little farther each week,\n   always to the same side.", 0, 12, 13) in blocks
    assert ("> Wind from behind doubles the range.", 0, 35, 35) in blocks


def test_markdown_headings_lose_their_markup_and_code_holds_none() -> None:
    headings = [block for block in _blocks("guide.md") if block[1]]
    assert headings == [
        ("The pigeon post", 1, 5, 5),
        ("Training young birds", 2, 9, 9),
        ("Weather", 2, 32, 33),
    ]


def test_markdown_front_matter_tables_and_html_are_blocks_of_their_own() -> None:
    blocks = {(first, last): text for text, _, first, last in _blocks("guide.md")}
    assert blocks[2, 3] == "title: The pigeon post\nstatus: public"
    assert blocks[17, 20].startswith("| Week | Distance |")
    assert blocks[27, 30].split() == ["Feeding", "Maize", "and", "peas,", "never", "bread."]


@pytest.mark.parametrize("text", ["---", "---\n", "---\nno end", "---\n---\nbody", ""])
def test_what_only_looks_like_front_matter_is_read_as_text(text: str) -> None:
    found = "".join(block.text for block in read("a.md", text.encode()))
    assert all(word in found for word in text.replace("---", "").split())


@pytest.mark.parametrize("text", [f"{'> ' * 200}deep", "[only]: definitions"])
def test_markdown_that_gives_no_blocks_is_read_as_text(text: str) -> None:
    assert [block.text for block in read("a.md", text.encode())] == [text]


def test_html_is_read_as_a_reader_sees_it() -> None:
    assert _blocks("page.html") == [
        ("Loft rules", 1, 5, 5),
        ("Before any heading.", 0, 14, 14),
        ("Opening hours", 2, 17, 18),
        ("The loft opens at six, and closes at nine.", 0, 19, 21),
        ("Knock first.", 0, 23, 23),
        ("Bring your own seed.", 0, 24, 24),
        ("Day | Keeper", 0, 27, 27),
        ("Monday | Ada", 0, 28, 28),
        ("coo\n  coo", 0, 31, 32),
        ("After the table comes the end.", 0, 34, 34),
    ]


def test_an_html_title_gives_way_to_a_heading() -> None:
    blocks = read("a.html", b"<title>Shop</title><h1>Pears</h1><p>Ripe.")
    assert [block.text for block in blocks] == ["Pears", "Ripe."]


def test_html_in_a_declared_encoding_is_read() -> None:
    page = "<meta charset='iso-8859-1'><p>caf\u00e9</p>".encode("latin-1")
    assert read("a.htm", page)[0].text == "caf\u00e9"


def test_a_text_is_divided_by_blank_lines() -> None:
    assert _blocks("notes.txt") == [
        ("The loft was painted in March.", 0, 1, 1),
        ("Two birds were ringed:\na grey one and a white one.", 0, 3, 4),
    ]


def test_a_pdf_is_read_page_by_page() -> None:
    blocks = read("manual.pdf", (DOCUMENTS / "manual.pdf").read_bytes())
    gasket = next(block for block in blocks if "gasket" in block.text)
    assert (gasket.page, gasket.first_line, gasket.last_line) == (2, 3, 4)


@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbfcaf\xc3\xa9\r\n\r\nbar", "caf\u00e9\n\nbar".encode("utf-16"), b"caf\xc3\xa9\r\rbar"],
)
def test_byte_order_marks_and_all_line_ends_are_understood(content: bytes) -> None:
    blocks = read("a.txt", content)
    assert [(block.text, block.first_line) for block in blocks] == [("caf\u00e9", 1), ("bar", 3)]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"one\ntwo \xe9", "not utf-8 text (byte 0xe9 on line 2): save it as UTF-8"),
        ("a.md", b"zero\0byte", "zero bytes"),
        ("a.html", b"<meta charset=klingon>x", "'klingon', which is unknown"),
        ("a.pdf", b"%PDF-1.4 broken", "not a readable PDF"),
        ("a.pdf", b"", "not a readable PDF"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_reason(name: str, content: bytes, words: str) -> None:
    with pytest.raises(UnreadableError) as raised:
        read(name, content)
    assert words in str(raised.value)


def test_a_pdf_of_pictures_is_refused() -> None:
    writer, content = PdfWriter(), io.BytesIO()
    writer.add_blank_page(200, 200)
    writer.write(content)
    with pytest.raises(UnreadableError, match="no text"):
        read("scan.pdf", content.getvalue())


def test_a_locked_pdf_is_refused() -> None:
    writer, content = PdfWriter(DOCUMENTS / "manual.pdf", full=True), io.BytesIO()
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(content)
    with pytest.raises(UnreadableError, match="password"):
        read("locked.pdf", content.getvalue())


def test_documents_are_known_by_their_suffix() -> None:
    assert is_document("README.MD")
    assert is_document("a.b.pdf")
    assert not is_document("picture.png")
    assert not is_document("md")


@settings(deadline=None, derandomize=True)
@given(
    st.sampled_from(["a.md", "a.html", "a.txt", "a.rst"]),
    st.text(alphabet="#*`<>/ap-=|[](1.\n\t &;~_!", max_size=200),
)
def test_lines_stay_within_the_text_whatever_it_is(name: str, text: str) -> None:
    lines = text.count("\n") + 1
    blocks = read(name, text.encode())
    assert all(1 <= block.first_line <= block.last_line <= lines for block in blocks)
    assert all(block.text.strip() for block in blocks)
