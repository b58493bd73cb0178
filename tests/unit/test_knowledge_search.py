"""Any text is a query, and what answers it comes first."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.contracts.documents import Passage
from services.tools.knowledge import ranking
from services.tools.knowledge.index import Index

_DOCUMENTS = {
    "install.md": "# Setup\n\n## Linux\n\nRun the package manager, then start the daemon.\n",
    "filler.md": "# Other\n\nThe broker broker broker broker keeps a log.\n",
    "retry.md": "# Delivery\n\nWhen the broker is away, the sender retries with backoff.\n",
    "heading.md": "# Pigeons\n\nThey fly home.\n",
    "body.md": "# Birds\n\nSome of them are called pigeons, others are called doves, and more names exist.\n",
    "same1.txt": "An identical sentence about gaskets.",
    "same2.txt": "An identical sentence about gaskets.",
    "accent.md": "# Caf\u00e9\n\nna\u00efve waiters\n",
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("docs")
    for name, text in _DOCUMENTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    index = Index(folder, folder / ".data" / "index.db")
    index.update()
    return index


def _best(index: Index, query: str) -> Passage:
    return index.search(query, 5)[0]


def test_a_passage_is_found_with_all_that_cites_it(index: Index) -> None:
    best = _best(index, "How do I start the daemon on Linux?")
    assert best.source == "install.md:5-5"
    assert (best.file, best.first_line, best.last_line, best.page) == ("install.md", 5, 5, None)
    assert best.heading == "Setup > Linux"
    assert best.text == "Run the package manager, then start the daemon."


def test_a_page_is_part_of_the_citation(tmp_path: Path) -> None:
    manual = Path(__file__).parent.parent / "fixtures" / "documents" / "manual.pdf"
    (tmp_path / "manual.pdf").write_bytes(manual.read_bytes())
    index = Index(tmp_path, tmp_path / ".data" / "index.db")
    index.update()
    best = _best(index, "replacing a gasket")
    assert (best.source, best.page) == ("manual.pdf#page=2:1-4", 2)


def test_forms_of_a_word_are_one_word(index: Index) -> None:
    assert _best(index, "retrying deliveries").file == "retry.md"


def test_more_different_words_beat_one_word_repeated(index: Index) -> None:
    assert _best(index, "broker away retries").file == "retry.md"


def test_a_word_in_a_heading_weighs_more(index: Index) -> None:
    assert [passage.file for passage in index.search("pigeons", 5)] == ["heading.md", "body.md"]


def test_accents_make_no_difference(index: Index) -> None:
    assert _best(index, "cafe naive").file == "accent.md"


def test_equals_come_in_the_order_of_their_files(index: Index) -> None:
    assert [passage.file for passage in index.search("gaskets", 5)] == ["same1.txt", "same2.txt"]


def test_scores_fall(index: Index) -> None:
    scores = [passage.score for passage in index.search("the broker keeps a log of birds", 10)]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) > 2


def test_no_more_than_the_limit_come_back(index: Index) -> None:
    assert len(index.search("broker gaskets pigeons", 2)) == 2
    assert index.search("broker", 0) == []


@pytest.mark.parametrize("query", ["", "   ", "?!", "zebra", '"', "\U000168e2", "\ud800"])
def test_a_query_that_fits_nothing_finds_nothing(index: Index, query: str) -> None:
    assert index.search(query, 5) == []


def test_words_that_say_nothing_are_searched_for_when_there_are_no_others(index: Index) -> None:
    assert _best(index, "what is the").score > 0


@pytest.mark.parametrize(
    "query",
    ['"broker" AND', "broker*", "text:broker", "NEAR(broker log, 2)", "-broker", "broker OR NOT", "{broker}^"],
)
def test_the_database_never_sees_a_query_as_its_own_language(index: Index, query: str) -> None:
    assert {passage.file for passage in index.search(query, 5)} >= {"filler.md", "retry.md"}


def test_in_a_large_index_a_word_of_most_passages_only_counts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        (tmp_path / f"{number}.md").write_text(f"Pigeons of loft{number}.", encoding="utf-8")
    index = Index(tmp_path, tmp_path / ".data" / "index.db")
    index.update()
    monkeypatch.setattr(ranking, "_LARGE", 1)
    assert [passage.file for passage in index.search("pigeons of loft3", 5)] == ["3.md"]
    assert len(index.search("pigeons", 5)) == 5
    assert len(index.search("pigeons unheard", 5)) == 5


@settings(deadline=None, derandomize=True)
@given(query=st.text(max_size=60), limit=st.integers(-1, 20))
def test_any_text_is_a_query(index: Index, query: str, limit: int) -> None:
    assert len(index.search(query, limit)) <= max(limit, 0)
