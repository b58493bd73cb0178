"""Arithmetic is found in questions, and only where it is arithmetic."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.demo_model.arithmetic import find_arithmetic, without_arithmetic


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("What is (3 + 4) * 2 ** 0.5?", "(3 + 4) * 2 ** 0.5"),
        ("How much is 12 percent of 80, roughly?", "12 / 100 * 80"),
        ("50% of 80", "50 / 100 * 80"),
        ("Tell me 17 times 23", "17 * 23"),
        ("the square root of (9 + 7)", "sqrt(9 + 7)"),
        ("two plus twenty-one", "2 + 21"),
        ("the sum of 3, 4, and 5", "(3 + 4 + 5)"),
        ("7 to the power of 3 minus 1", "7 ** 3 - 1"),
        ("What is 1,234 \u00d7 2?", "1234 * 2"),
        ("5 x 6", "5 * 6"),
        ("3 squared", "3 ** 2"),
        ("sqrt(2) + min(3, 4)", "sqrt(2) + min(3, 4)"),
        ("What is 10-4?", "10 - 4"),
        ("(3+4", "3 + 4"),
        ("-3 + 4", "-3 + 4"),
    ],
)
def test_arithmetic_in_symbols_and_words_becomes_an_expression(text: str, expression: str) -> None:
    assert [found.expression for found in find_arithmetic(text)] == [expression]


@pytest.mark.parametrize(
    "text",
    [
        "Who wrote docs/a.md, lines 10-14?",
        "What changed on 2024-05-01 at 10:30?",
        "Does version 1.18.3 run on Python 3.11?",
        "Is there 24/7 support?",
        "Wait 5 - 10 seconds, then try 3 times",
        "How does and/or work?",
        "3 +",
        "",
    ],
)
def test_dates_versions_ranges_and_halves_of_sums_are_no_arithmetic(text: str) -> None:
    assert not find_arithmetic(text)


def test_several_expressions_are_found_in_their_order() -> None:
    found = find_arithmetic("What is 3 + 4, and what is 5 times 6?")
    assert [one.expression for one in found] == ["3 + 4", "5 * 6"]


def test_what_is_left_without_arithmetic_is_the_question_itself() -> None:
    left = without_arithmetic("What is 12 percent of 80 and how are retries configured?")
    assert " ".join(left.split()) == "What is and how are retries configured?"


@settings(deadline=None, derandomize=True)
@given(st.text(alphabet="0123456789+-*/%^().,x squaredrootoftwoplus", max_size=200))
def test_no_text_upsets_the_search_for_arithmetic(text: str) -> None:
    for found in find_arithmetic(text):
        assert 0 <= found.start < found.end <= len(text)
        assert found.expression.count("(") == found.expression.count(")")


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 10**9), st.sampled_from(["+", "-", "*", "/", "**"]), st.integers(1, 10**9))
def test_the_expression_has_the_value_of_what_was_asked(left: int, operator: str, right: int) -> None:
    (found,) = find_arithmetic(f"Please, what is {left} {operator} {right} exactly?")
    assert found.expression == f"{left} {operator} {right}"
