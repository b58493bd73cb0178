"""Sources are found in tool results, and cited by their labels."""

from dovecote.results import Source, cited, sources_in


def _sources(*labels: str) -> list[Source]:
    return [Source(source=label) for label in labels]


def test_sources_are_found_however_deep_they_lie() -> None:
    result = {"passages": [{"source": "a.md:1-2", "text": "x"}, {"more": [{"source": "b.md:3-4"}]}], "n": 1}
    assert [source.source for source in sources_in(result)] == ["a.md:1-2", "b.md:3-4"]


def test_cited_sources_come_once_in_the_order_of_the_text() -> None:
    text = "Second [b.md:3-4]. First [a.md:1-2]. Again [b.md:3-4]."
    found = cited(text, _sources("a.md:1-2", "b.md:3-4", "c.md:5-6", "b.md:3-4"))
    assert [source.source for source in found] == ["b.md:3-4", "a.md:1-2"]


def test_a_label_inside_a_longer_one_is_not_cited() -> None:
    assert cited("See [docs/data.md:1-10].", _sources("data.md:1-10", "a.md:1-1", "docs/data.md:1-1")) == []
