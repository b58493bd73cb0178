"""The results of the benchmarks: the table in the README, and the file beside it."""

import pytest

from bench.results import Results, figure, line, with_table
from bench.rows import Goal, Row

MISSED = Row.of("a turn", "ms", 55.0, 25.0, goal=Goal(of="ours", sense="at most", bound=40), note="alone")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (21232.4, "21,232"),
        (100.0, "100"),
        (99.94, "99.9"),
        (3.5, "3.50"),
        (0.16666, "0.167"),
        (0.0, "0.00"),
    ],
)
def test_a_figure_has_three_digits_that_count(value: float | None, text: str) -> None:
    assert figure(value) == text


def test_a_missed_goal_stands_out_in_its_row() -> None:
    assert line(MISSED) == "| a turn | 55.0 ms | 25.0 ms | 2.20x | ≤ 40.0 ms | **no** | alone |\n"


def test_a_figure_without_reference_or_goal_has_dashes() -> None:
    assert line(Row.of("memory", "MB", 343.0)) == "| memory | 343 MB | - | - | - | - |  |\n"


def test_a_table_replaces_the_one_before_and_nothing_else() -> None:
    page = "above\n<!-- results: begin -->\n| old |\n<!-- results: end -->\nbelow\n"
    expected = "above\n<!-- results: begin -->\n| new \\1 |\n<!-- results: end -->\nbelow\n"
    assert with_table(page, "| new \\1 |\n") == expected


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="results: begin"):
        with_table("a page", "| a table |\n")


def test_the_table_says_when_where_and_under_what_load_it_was_measured() -> None:
    results = Results(
        date="2026-11-21", commit="abc", dapr="1.18.2", machine="2 cores", load=(0.5, 1.25), rows=[MISSED]
    )
    head, *_, row = results.table().splitlines()
    assert head == "2026-11-21, commit abc, Dapr 1.18.2, 2 cores; load average 0.5 before, 1.2 after."
    assert row + "\n" == line(MISSED)


def test_the_file_of_results_keeps_goal_and_verdict() -> None:
    assert MISSED.model_dump(mode="json") == {
        "work": "a turn",
        "unit": "ms",
        "ours": 55.0,
        "theirs": 25.0,
        "ratio": 2.2,
        "goal": {"of": "ours", "sense": "at most", "bound": 40.0},
        "met": False,
        "note": "alone",
    }
