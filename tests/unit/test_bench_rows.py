"""The arithmetic of the benchmarks: ratios, goals, percentiles."""

import pytest

from bench.rows import Goal, Row, percentile

AT_LEAST = Goal(of="ratio", sense="at least", bound=3.5)
AT_MOST = Goal(of="ours", sense="at most", bound=40)


def test_the_ratio_of_a_row_is_ours_over_theirs() -> None:
    assert Row.of("work", "ms", 6.0, 4.0).ratio == 1.5


def test_a_row_without_a_reference_has_no_ratio() -> None:
    assert Row.of("work", "ms", 6.0).ratio is None


def test_a_row_without_a_goal_is_neither_met_nor_missed() -> None:
    assert Row.of("work", "ms", 6.0, 4.0).met is None


@pytest.mark.parametrize(("ours", "met"), [(34.9, False), (35.0, True), (50.0, True)])
def test_a_goal_of_at_least_a_ratio_is_judged_by_the_ratio(ours: float, met: bool) -> None:
    assert Row.of("work", "messages/s", ours, 10.0, goal=AT_LEAST).met is met


@pytest.mark.parametrize(("ours", "met"), [(39.0, True), (40.0, True), (40.1, False)])
def test_a_goal_of_at_most_a_figure_is_judged_by_ours_alone(ours: float, met: bool) -> None:
    assert Row.of("work", "ms", ours, 1.0, goal=AT_MOST).met is met


def test_a_goal_on_a_ratio_is_missed_where_there_is_no_reference() -> None:
    assert Row.of("work", "messages/s", 100.0, goal=AT_LEAST).met is False


def test_rounds_are_compared_pair_by_pair_so_that_a_slow_one_weighs_on_both() -> None:
    row = Row.of_rounds("work", "messages/s", [40.0, 4.0, 44.0], [10.0, 1.0, 10.0])
    assert row.ratio == 4.0
    assert (row.ours, row.theirs) == (40.0, 10.0)


def test_the_note_of_rounds_says_how_far_their_ratios_lie_apart() -> None:
    row = Row.of_rounds("work", "µs", [2.0, 3.0], [4.0, 4.0], note="a process")
    assert row.note == "a process; ratio 0.50 to 0.75 in 2 rounds"


def test_rounds_without_a_partner_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Row.of_rounds("work", "ms", [1.0, 2.0], [1.0])


def test_a_percentile_lies_between_the_values_around_it() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 50) == 2.5
    assert percentile([float(value) for value in range(101)], 99) == 99.0


def test_the_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 99) == 7.0
