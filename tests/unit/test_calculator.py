"""What the calculator understands, what it refuses, and that it says so in words that help."""

import math
import random
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.tools.calculator.errors import CalculationError
from services.tools.calculator.evaluator import evaluate


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("(3 + 4) * 2", "14"),
        ("0.1 + 0.2", "0.3"),
        ("-0.5", "-0.5"),
        ("2/3 * 3", "2"),
        ("1/3", "1/3 (about 0.333333333333333)"),
        ("-22/7", "-22/7 (about -3.14285714285714)"),
        ("1/2^40", "1/1099511627776 (about 9.09494701772928E-13)"),
        ("1/8", "0.125"),
        ("2^100", "1267650600228229401496703205376"),
        ("2 ** 3 ** 2", "512"),
        ("-2^2", "-4"),
        ("17 // 5", "3"),
        ("17 % 5", "2"),
        ("1.5e3", "1500"),
        ("007", "7"),
        (".5", "0.5"),
    ],
)
def test_arithmetic_is_exact(expression: str, value: str) -> None:
    evaluation = evaluate(expression)
    assert (evaluation.value, evaluation.exact) == (value, True)
    assert evaluation.expression == expression


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("6 \u00d7 7", "42"),
        ("9 \u00f7 2", "4.5"),
        ("9 \u2212 2", "7"),
        ("5\u00b2 + 2\u00b3", "33"),
        ("2 ^ 10", "1024"),
        ("1,234,567 + 1", "1234568"),
        ("(1,234.5)", "1234.5"),
        ("12% of 80", "9.6"),
        ("12% of 1,250 + 1", "151"),
        ("-5% of 80", "-4"),
        ("200 * 12%", "24"),
        ("12%", "0.12"),
        ("3\n+ 4", "7"),
    ],
)
def test_the_notation_of_people_is_understood(expression: str, value: str) -> None:
    assert evaluate(expression).value == value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("sqrt(16)", "4"),
        ("sqrt(1/4)", "0.5"),
        ("4 ^ 1.5", "8"),
        ("abs(-3)", "3"),
        ("round(2.5)", "3"),
        ("round(-2.675, 2)", "-2.68"),
        ("round(1250, -2)", "1300"),
        ("floor(-7/2) + ceil(7/2)", "0"),
        ("factorial(20)", "2432902008176640000"),
        ("gcd(12, 18) + lcm(4, 6)", "18"),
        ("max(1, 1/2) - min(2, 3, 1)", "0"),
    ],
)
def test_functions_stay_exact_where_they_can(expression: str, value: str) -> None:
    evaluation = evaluate(expression)
    assert (evaluation.value, evaluation.exact) == (value, True)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("sqrt(2)", "1.4142135623731"),
        ("2 ^ (1/3)", "1.25992104989487"),
        ("pi", "3.14159265358979"),
        ("\u03c0 * 2", "6.28318530717959"),
        ("sin(pi)", "0"),
        ("cos(0)", "1"),
        ("ln(e)", "1"),
        ("log(8, 2)", "3"),
        ("log10(1000)", "3"),
        ("round(pi, 2)", "3.14"),
        ("0 * -pi", "0"),
        ("1/3 + pi", "3.47492598692313"),
    ],
)
def test_what_cannot_be_exact_says_so(expression: str, value: str) -> None:
    evaluation = evaluate(expression)
    assert (evaluation.value, evaluation.exact) == (value, False)


@pytest.mark.parametrize(
    ("expression", "words", "position"),
    [
        ("", "empty", None),
        ("3 +", "missing or misplaced", 3),
        ("3 4", "missing or misplaced", 3),
        ("2 * (3 + 4", "never closed", 5),
        ("3 + 4)", "unmatched", 6),
        ("2(3)", "Write an operator", 1),
        ("2pi", "Write an operator between 2 and pi", 2),
        ("1 + sqr(4)", "did you mean sqrt?", 5),
        ("1 + width", "'width' is not known", 5),
        ("1 + sqrt", "write sqrt(...)", 5),
        ("5!", "factorial", 2),
        ("3 + 4 =", "without =", 7),
        ("$5", "currency", 1),
        ("3,14", "a decimal has a point", 2),
        ("max(1,234)", "write 1234 or 1, 234", 5),
        ("100 + 10%", "two ways", 9),
        ("7 % -3", "two ways", 3),
        ("100 / 12% of 80", "in brackets", 9),
        ("half of 80", "'half' is not known", 1),
        ("3 + of", "after a percentage", 5),
        ("1 + 2 / (3 - 3)", "Division by zero", 10),
        ("1 \u00d7 0 ^ -1", "Division by zero", 9),
        ("sqrt(-1)", "not real", 1),
        ("(-8) ^ (1/3)", "no real value", 9),
        ("ln(0)", "no real value", 1),
        ("log(100)", "log takes (x, base), not 1", 1),
        ("max()", "takes (first, others)", 1),
        ("factorial(2.5)", "whole", 1),
        ("round(1, 101)", "at most 100 places", 1),
        ("max(**pi)", "numbers only", 1),
        ("max(*pi)", "no arithmetic", 1),
        ("()", "no arithmetic", None),
    ],
)
def test_a_bad_expression_is_told_what_is_wrong_and_where(
    expression: str, words: str, position: int | None
) -> None:
    with pytest.raises(CalculationError) as raised:
        evaluate(expression)
    assert words in raised.value.message
    assert raised.value.position == position
    assert (position is None) == ("at character" not in str(raised.value))


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os')",
        "().__class__",
        "[1]",
        "'a' * 9",
        "lambda: 1",
        "1 if 1 else 2",
        "1 or 2",
        "True",
        "a := 1",
    ],
)
def test_what_is_not_arithmetic_is_refused(expression: str) -> None:
    with pytest.raises(CalculationError):
        evaluate(expression)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("9 ^ 9 ^ 9 ^ 9", "too large"),
        ("1e999999999", "too large"),
        ("1e-99999999999999999999999", "too large"),
        ("factorial(factorial(9))", "too large"),
        ("2 ^ -9999999", "too large"),
        ("10 ^ 999 * 10 ^ 999", "too large"),
        ("e ^ 1000", "too large"),
        ("pi * 10 ^ 400", "too large"),
        ("1" * 1001, "1001 characters"),
        ("-" * 900 + "1", "nested"),
        ("(2 ^ " * 150 + "1" + ")" * 150, "nested"),
    ],
)
def test_what_would_run_away_is_refused_at_once(expression: str, words: str) -> None:
    started = time.process_time()
    with pytest.raises(CalculationError, match=words):
        evaluate(expression)
    assert time.process_time() - started < 1


def test_a_one_to_a_huge_power_is_still_one() -> None:
    assert evaluate("1 ^ 10 ^ 300 + (-1) ^ (10 ^ 300 + 1)").value == "0"


def test_a_long_sum_is_no_deep_nesting() -> None:
    assert evaluate(" + ".join(["1"] * 250)).value == "250"


@st.composite
def _sums(draw: st.DrawFn) -> tuple[str, Fraction | None]:
    """An expression with its value by Fraction arithmetic, None where it divides by zero."""
    node = st.deferred(lambda: leaf | branch)
    leaf = st.decimals(0, 10_000, places=3).map(lambda number: (f"{number:f}", Fraction(number)))
    branch = st.tuples(node, st.sampled_from("+-*/"), node).map(lambda parts: _joined(*parts))
    drawn: tuple[str, Fraction | None] = draw(node)
    return drawn


def _joined(
    left: tuple[str, Fraction | None], sign: str, right: tuple[str, Fraction | None]
) -> tuple[str, Fraction | None]:
    text = f"({left[0]} {sign} {right[0]})"
    a, b = left[1], right[1]
    if a is None or b is None or (sign == "/" and b == 0):
        return text, None
    return text, {"+": a + b, "-": a - b, "*": a * b, "/": a / (b or 1)}[sign]


@settings(deadline=None, derandomize=True)
@given(_sums())
def test_it_agrees_with_fractions(case: tuple[str, Fraction | None]) -> None:
    text, expected = case
    try:
        value = evaluate(text).value
    except CalculationError as error:
        assert expected is None or "characters" in error.message or "nested" in error.message  # noqa: PT017 - it need not raise
        return
    assert expected is not None
    assert Fraction(value.split(" ")[0]) == expected


_WORDS = st.sampled_from(
    [*"+-*/%^(),.!0123456789 \n", "**", "//", "sqrt(", "max(", "pi", "e", "of", "%", "1e9", "\u00d7"]
)


@settings(deadline=None, derandomize=True)
@given(st.one_of(st.text(max_size=60), st.lists(_WORDS, max_size=30).map("".join)))
def test_no_text_raises_anything_else_or_takes_long(expression: str) -> None:
    started = time.process_time()
    try:
        evaluation = evaluate(expression)
    except CalculationError as error:
        assert str(error)  # noqa: PT017 - it need not raise
    else:
        assert math.isfinite(Fraction(evaluation.value.split(" ")[0]))
    assert time.process_time() - started < 1


def test_thousands_in_a_sum_read_as_they_are_written() -> None:
    numbers = [random.Random(7).randrange(10**9) for _ in range(20)]
    assert evaluate(" + ".join(f"{number:,}" for number in numbers)).value == str(sum(numbers))
