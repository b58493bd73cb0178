"""The table of behaviours is what tests and declarations say."""

from dovecote.topics import Capabilities
from tests.conformance.behaviours import behaviours, transports
from tests.conformance.table import PAGE, Cell, markdown, page, render, told


def test_the_page_of_components_has_the_table_as_it_is_declared() -> None:
    assert PAGE.read_text() == page(), "write it again: make pages"


def test_every_declared_exception_is_of_a_behaviour_that_there_is() -> None:
    declared = {key for broker in transports().values() for key in broker.exceptions}
    assert declared - behaviours().keys() == set()


def test_a_reason_stands_below_the_table_once_and_its_number_in_the_cells() -> None:
    [key, other, *_] = behaviours()
    lacking = Capabilities(
        broker="one",
        separator="/",
        group_prefix="",
        durable=True,
        exceptions={key: "It cannot.", other: "It cannot."},
    )
    able = Capabilities(broker="two", separator="/", group_prefix="", durable=True)
    text = markdown({"one": lacking, "two": able})
    assert text.count("| (1) | yes |") == 2
    assert text.endswith("\n\n(1) It cannot.")


def test_a_run_shows_what_ran_and_a_failure_even_of_what_is_declared() -> None:
    [key, other, *_] = behaviours()
    broker = Capabilities(
        broker="one",
        separator="/",
        group_prefix="",
        durable=True,
        exceptions={key: "It cannot.", other: "It cannot."},
    )
    cells: dict[tuple[str, str], Cell] = {(key, "one"): "FAIL", (other, "one"): "pass"}
    lines = render({"one": broker, "two": broker}, cells).splitlines()
    assert [line.split()[-1] for line in lines[:3]] == ["one", "FAIL", "(1)"]
    assert "two" not in lines[0]


def test_each_broker_is_told_of_and_one_that_did_not_run_with_the_reason() -> None:
    lines = told({"one": "binary of this machine"}, {"two": "java is not on this machine"}, must_run=False)
    assert lines == ["one: ran, binary of this machine", "two: not run, java is not on this machine"]
    [line] = told({}, {"two": "java is not on this machine"}, must_run=True)
    assert "which is a failure" in line
