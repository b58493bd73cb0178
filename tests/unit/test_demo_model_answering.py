"""Answers, notes and verdicts: nothing is said that the material does not say."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.demo_model.answering import answer_from_notes, answer_from_tools
from services.demo_model.material import Material, from_notes, from_result
from services.demo_model.notes import CLOSING, Passage, Value, passages_in, without_closing
from services.demo_model.verdict import Verdict, judge, verdict_asked
from services.demo_model.words import tokens

RETRIES = {
    "source": "docs/retry.md:3-9",
    "heading": "Guide > Retries",
    "text": "## Retries\n\nA *retry* is configured in `resiliency.yaml`.\n\n- Three attempts\n- Backoff",
}
VERDICT = Verdict("APPROVE", "REVISE")


def searched(*passages: dict[str, Any]) -> Material:
    return from_result("search", '{"query": "x"}', json.dumps({"passages": passages}))


def test_the_answer_quotes_the_sentence_that_fits_with_its_source() -> None:
    answer = answer_from_tools("How are retries configured?", searched(RETRIES))
    assert answer == "A retry is configured in `resiliency.yaml`. [docs/retry.md:3-9]"


def test_rarer_words_of_the_question_weigh_more() -> None:
    common = {
        "source": "a.md:1-1",
        "text": "The broker keeps messages. The broker sends messages. A broker is fast.",
    }
    rare = {"source": "b.md:1-1", "text": "The broker is restarted by the supervisor."}
    answer = answer_from_tools("What happens to the broker that is restarted?", searched(common, rare))
    assert answer.startswith("The broker is restarted by the supervisor. [b.md:1-1]")


def test_at_most_three_sentences_are_quoted_and_none_twice() -> None:
    passages = [{"source": f"{n}.md:1-1", "text": f"Retries are good for reason {n} of many."} for n in range(6)]
    answer = answer_from_tools("Why are retries good?", searched(*passages, *passages))
    assert 1 <= answer.count("Retries are good") <= 3
    assert len(set(answer.split("] "))) == len(answer.split("] "))


def test_a_short_statement_is_quoted_under_the_heading_that_makes_sense_of_it() -> None:
    passage = {"source": "a.md:1-3", "heading": "Guide > Retry policy", "text": "Three attempts with backoff."}
    answer = answer_from_tools("What is the retry policy?", searched(passage))
    assert answer == "Retry policy: Three attempts with backoff. [a.md:1-3]"


@pytest.mark.parametrize(
    "question", ["What is the capital of France?", "Who won the chess championship?", "Is Ada Lovelace nice?"]
)
def test_what_the_documents_do_not_answer_is_said_plainly(question: str) -> None:
    assert answer_from_tools(question, searched(RETRIES)) == "The documents do not answer this question."
    assert answer_from_tools(question, searched()) == "The documents do not answer this question."


@pytest.mark.parametrize(
    ("arguments", "result", "answer"),
    [
        ("{}", {"expression": "(3 + 4) * 2", "value": "14", "exact": True}, "(3 + 4) * 2 = 14."),
        ('{"expression": "3 + 4"}', 7, "3 + 4 = 7."),
        ('{"expression": "1 / 3"}', {"value": "1/3 (0.333333333333333)"}, "1 / 3 = 1/3 (0.333333333333333)."),
        ('{"a": 3, "b": 4}', 7, "add(3, 4) = 7."),
        ("{}", {"city": "Paris", "temperature": 21}, "add returned city Paris, temperature 21. [add]"),
        ("{}", "It is sunny in Paris.", "It is sunny in Paris. [add]"),
        ("not json", None, "The documents do not answer this question."),
    ],
)
def test_results_of_any_tool_are_told(arguments: str, result: Any, answer: str) -> None:
    material = from_result("add", arguments, result if isinstance(result, str) else json.dumps(result))
    assert answer_from_tools("What is 3 + 4?" if "=" in answer else "What is new?", material) == answer


@pytest.mark.parametrize(
    "result",
    [
        '{"error": "disk full"}',
        '{"error": {"type": "ToolError", "message": "disk full"}}',
        '{"status": 503, "title": "Unavailable", "detail": "disk full"}',
        "Error: disk full",
    ],
)
def test_a_failure_alone_is_the_answer_and_beside_material_it_is_mentioned(result: str) -> None:
    failed = from_result("index", "{}", result)
    alone = answer_from_tools("How are retries configured?", failed)
    assert alone.startswith("The question could not be answered. The tool 'index' failed: ")
    assert "disk full" in alone
    both = answer_from_tools("How are retries configured?", searched(RETRIES) + failed)
    assert both.startswith(
        "A retry is configured in `resiliency.yaml`. [docs/retry.md:3-9] The tool 'index' failed"
    )


def test_a_value_answers_its_part_and_the_rest_is_said_to_be_open() -> None:
    value = Material(values=(Value("3 + 4", "7"),))
    assert answer_from_tools("What is 3 + 4?", value) == "3 + 4 = 7."
    answer = answer_from_tools("What is 3 + 4, and who won the chess championship?", value + searched(RETRIES))
    assert answer == "3 + 4 = 7. The documents do not answer the rest of the question."


def test_a_result_that_was_cut_short_still_gives_its_whole_passages() -> None:
    text = json.dumps({"passages": [RETRIES, RETRIES]})
    material = from_result("search", "{}", text[:-40])
    assert [passage.source for passage in material.passages] == ["docs/retry.md:3-9"]


def test_notes_are_read_as_lines_as_bullets_with_leading_labels_and_as_json() -> None:
    expected = [("Alpha is first.", "a.md:1-2"), ("Beta is second.", "my file.pdf#page=3:1-9")]
    for notes in (
        "Alpha is first. [a.md:1-2] Beta is second. [my file.pdf#page=3:1-9]",
        "- Alpha is first. [a.md:1-2]\n- Beta is second. [my file.pdf#page=3:1-9]",
        "[a.md:1-2] Alpha is first.\n[my file.pdf#page=3:1-9] Beta is second.",
        json.dumps([{"text": text, "source": source} for text, source in expected]),
        "Found:\n" + json.dumps({"passages": [{"text": text, "source": source} for text, source in expected]}),
    ):
        found = [
            (passage.text.lstrip("- "), passage.source) for passage in from_notes(notes).passages if passage.source
        ]
        assert found == expected, notes


def test_brackets_that_are_no_labels_stay_in_the_text() -> None:
    text = "Use `list[int]` or [a link](x.md), and [ ] for a box."
    assert passages_in(text) == [Passage(text, trust="chosen")]


def test_the_writer_keeps_sentences_labels_and_values_of_the_notes() -> None:
    notes = f"12 / 100 * 80 = 9.6. A retry is configured in `r.yaml`. [a.md:1-2]\n\n{CLOSING}"
    answer = answer_from_notes("What is 12 percent of 80 and how are retries configured?", from_notes(notes))
    assert answer == "12 / 100 * 80 = 9.6. A retry is configured in `r.yaml`. [a.md:1-2]"


def test_the_writer_passes_on_that_there_is_no_answer_and_that_a_tool_failed() -> None:
    no_answer = "The documents do not answer this question."
    assert answer_from_notes("Who is Ada?", from_notes(no_answer)) == no_answer
    notes = "A retry is a second attempt. [a.md:1-1] The tool 'evaluate' failed: division by zero."
    assert answer_from_notes("What is a retry?", from_notes(notes)) == notes


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        ("Reply APPROVE or REVISE: <reason>.", VERDICT),
        ("Start your answer with `REVISE: <what>` or `APPROVE`.", VERDICT),
        ("Say PASS, or FAIL with the reason", Verdict("PASS", "FAIL")),
        ("Your verdict is ACCEPT/REJECT", Verdict("ACCEPT", "REJECT")),
        ("Answer in JSON or YAML.", None),
        ("Answer the question, and approve or revise nothing.", None),
        ("", None),
    ],
)
def test_the_words_of_a_verdict_come_from_the_instructions(instructions: str, expected: Verdict | None) -> None:
    assert verdict_asked(instructions) == expected


def review(draft: str, notes: str = "A retry is a *second* attempt. [a.md:1-1] 3 + 4 = 7.") -> str:
    return judge(VERDICT, [f"Question:\nWhat is a retry?\n\nNotes:\n{notes}\n\nDraft:\n{draft}"])


@pytest.mark.parametrize(
    "draft",
    [
        "A retry is a second attempt. [a.md:1-1]",
        f"3 + 4 = 7. A retry is a second attempt. [a.md:1-1]\n\n{CLOSING}",
        "The documents do not answer this question.",
    ],
)
def test_a_draft_whose_cited_sentences_stand_in_the_notes_is_approved(draft: str) -> None:
    assert review(draft).startswith("APPROVE: ")


@pytest.mark.parametrize(
    ("draft", "reason"),
    [
        ("", "the draft is empty"),
        ("A retry is a third attempt. [a.md:1-1]", "do not hold the sentence 'A retry is a third attempt.'"),
        ("A retry is a second attempt. [b.md:7-9]", "do not name the source [b.md:7-9]"),
    ],
)
def test_a_draft_that_says_more_than_the_notes_is_sent_back_with_the_reason(draft: str, reason: str) -> None:
    verdict = review(draft)
    assert verdict.startswith("REVISE: ")
    assert reason in verdict


def test_a_draft_without_notes_to_check_it_by_is_sent_back() -> None:
    assert judge(VERDICT, ["Draft: A retry is a second attempt. [a.md:1-1]"]).startswith(
        "REVISE: there are no notes"
    )


def test_question_notes_and_draft_are_found_in_json_as_well() -> None:
    message = {"question": "What?", "notes": [RETRIES], "draft": "Three attempts. [docs/retry.md:3-9]"}
    assert judge(VERDICT, [json.dumps(message)]).startswith("APPROVE: ")


WORDS = "retry broker message topic is the a keeps *bold* `code` [x](y) 3.5 e.g. Zürich # > - | _u_ <b>"
WORD = st.sampled_from(WORDS.split())
TEXT = st.lists(
    st.tuples(st.lists(WORD, min_size=1, max_size=6), st.sampled_from([". ", "! ", ".\n\n", ":\n- ", "\n"]))
).map(lambda parts: "".join(" ".join(words) + end for words, end in parts))
PASSAGE = st.fixed_dictionaries({"source": st.sampled_from(["a.md:1-2", "b/c.md:3-4"]), "text": TEXT})


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(PASSAGE, max_size=3))
def test_every_cited_sentence_is_in_a_passage_of_that_source(passages: list[dict[str, str]]) -> None:
    answer = answer_from_tools("How does the broker retry a message?", searched(*passages))
    for quoted in passages_in(answer):
        if quoted.source:
            words = tokens(quoted.text)
            held = [tokens(passage["text"]) for passage in passages if passage["source"] == quoted.source]
            assert any(set(words) <= set(text) for text in held)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.text(max_size=60), st.text(max_size=300), st.text(max_size=300))
def test_no_text_upsets_reading_answering_and_judging(question: str, notes: str, draft: str) -> None:
    assert answer_from_notes(question, from_notes(notes))
    assert answer_from_tools(question, from_result("t", notes, draft))
    assert judge(VERDICT, [question, notes, f"Draft: {draft}"]).startswith(("APPROVE: ", "REVISE: "))


HOSTILE = [
    " ",
    "\n",
    "1,",
    "<!--",
    "e.g. A ",
    "[a",
    "1 = ",
    "(Answered by the demonstration model:",
    "f(",
    "`",
    "1-",
]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("part", HOSTILE)
def test_a_long_text_of_one_pattern_is_read_in_bounded_time(part: str) -> None:
    text = part * (20_000 // len(part))
    assert answer_from_tools("What is it?", from_result("search", "{}", text))
    assert judge(VERDICT, [f"Question:\nWhat?\n\nNotes:\n{text}\n\nDraft:\n{text} [a.md:1-1]"])
    assert answer_from_notes(text, from_notes(text))


def test_the_closing_line_is_taken_off_wherever_it_stands() -> None:
    assert without_closing(f"One. {CLOSING} Two.\n\n{CLOSING}").split() == ["One.", "Two."]
