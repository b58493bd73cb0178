"""The table of behaviours is what tests and declarations say."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from dovecote.topics import Capabilities
from tests.conformance.behaviours import behaviours, transports
from tests.conformance.conftest import RUN, Run, pytest_sessionfinish
from tests.conformance.table import PAGE, Cell, markdown, page, render, told

[KEY, OTHER, *_] = behaviours()
ABLE = Capabilities(broker="two", separator="/", group_prefix="", durable=True)
LACKING = ABLE.model_copy(update={"broker": "one", "exceptions": {KEY: "It cannot.", OTHER: "It cannot."}})


def test_the_page_of_components_has_the_table_as_it_is_declared() -> None:
    assert PAGE.read_text() == page(), "write it again: make pages"


def test_every_declared_exception_is_of_a_behaviour_that_there_is() -> None:
    declared = {key for broker in transports().values() for key in broker.exceptions}
    assert declared - behaviours().keys() == set()


def test_a_reason_stands_below_the_table_once_and_its_number_in_the_cells() -> None:
    text = markdown({"one": LACKING, "two": ABLE})
    assert text.count("| (1) | yes |") == 2
    assert text.endswith("\n\n(1) It cannot.")


def test_a_run_shows_what_ran_and_a_failure_even_of_what_is_declared() -> None:
    cells: dict[tuple[str, str], Cell] = {(KEY, "one"): "FAIL", (OTHER, "one"): "pass"}
    lines = render({"one": LACKING, "two": LACKING}, cells).splitlines()
    assert [line.split()[-1] for line in lines[:3]] == ["one", "FAIL", "(1)"]
    assert "two" not in lines[0]


def test_each_broker_is_told_of_and_one_that_did_not_run_with_the_reason() -> None:
    lines = told({"one": "binary of this machine"}, {"two": "java is not on this machine"}, {}, must_run=False)
    assert lines == ["one: ran, binary of this machine", "two: not run, java is not on this machine"]
    [line] = told({}, {"two": "java is not on this machine"}, {}, must_run=True)
    assert "which is a failure" in line


def test_tests_that_cannot_restart_somebody_elses_broker_are_told_of_and_not_taken_for_run() -> None:
    [here] = told({"one": "address given by ONE"}, {}, {"one": 4}, must_run=False)
    assert here.startswith("one: ran, address given by ONE; 4 of its tests not run")
    assert "failure" not in here
    [line] = told({"one": "address given by ONE"}, {}, {"one": 4}, must_run=True)
    assert "which is a failure where CI is set" in line


@pytest.mark.parametrize(
    ("run", "ci", "ends"),
    [
        (Run(), "true", pytest.ExitCode.OK),
        (Run(left_out=Counter(one=4)), "", pytest.ExitCode.OK),
        (Run(left_out=Counter(one=4)), "true", pytest.ExitCode.TESTS_FAILED),
        (Run(missing={"two": "java is not on this machine"}), "true", pytest.ExitCode.TESTS_FAILED),
    ],
)
def test_a_run_that_is_not_complete_fails_where_ci_is_set(
    run: Run, ci: str, ends: pytest.ExitCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    session: Any = SimpleNamespace(config=SimpleNamespace(stash={RUN: run}), exitstatus=pytest.ExitCode.OK)
    pytest_sessionfinish(session)
    assert session.exitstatus is ends
