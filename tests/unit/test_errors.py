"""The errors, and what each means on the wire."""

import inspect

import pytest
from pydantic_core import to_json

from dovecote import errors
from dovecote.errors import (
    OUTCOMES,
    DovecoteError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    named,
    outcome,
)
from dovecote.problems import read_answer, to_problem

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, DovecoteError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_place_in_the_tree_that_is_drawn(kind: type[DovecoteError]) -> None:
    assert errors.__doc__ is not None
    assert kind.__name__ in errors.__doc__
    assert kind.__doc__


def test_the_tree_that_is_drawn_has_no_error_that_is_not_there() -> None:
    assert errors.__doc__ is not None
    drawn = {word for word in errors.__doc__.split() if word.endswith("Error") or word == "Reject"}
    assert drawn == {kind.__name__ for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_whose_verdict_is_to_drop_has_a_status_that_is_not_tried_again(kind: type[DovecoteError]) -> None:
    status, verdict = outcome(kind("text"))
    assert verdict == ("DROP" if status in (404, 413, 422, 502) else "RETRY")


def test_an_error_that_is_not_in_the_table_has_the_outcome_of_its_nearest_class() -> None:
    class OwnError(InvalidInputError):
        pass

    assert outcome(OwnError("text")) == OUTCOMES[InvalidInputError]
    assert outcome(KeyError("text")) == (500, "RETRY")
    assert outcome(TimeoutError()) == (500, "RETRY")


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_crosses_a_process_by_its_name(kind: type[DovecoteError]) -> None:
    error = named(kind.__name__, "text", "mend")
    assert (type(error), str(error), error.mend) == (kind, "text", "mend")


@pytest.mark.parametrize("name", ["KeyError", "Final", "outcome", "os", "__name__"])
def test_a_foreign_name_is_no_class_of_ours_but_stays_in_the_text(name: str) -> None:
    error = named(name, "text")
    assert (type(error), str(error)) == (DovecoteError, f"{name}: text")


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_the_same_after_its_journey_as_a_problem(kind: type[DovecoteError]) -> None:
    status, body = to_problem(kind("a 'text' with ü", mend="do this"))
    assert body["status"] == status == outcome(kind(""))[0]
    with pytest.raises(DovecoteError) as caught:
        read_answer("app/method", status, to_json(body))
    assert (type(caught.value), str(caught.value), caught.value.mend) == (kind, "a 'text' with ü", "do this")


def test_a_foreign_error_is_told_without_its_text_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    status, body = to_problem(KeyError("secret"))
    assert (status, body["title"]) == (500, "InternalError")
    assert "secret" not in str(body)
    assert "secret" in caplog.text


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (404, b'{"detail":"Not Found"}', NotFoundError, "app/method answered 404: Not Found"),
        (405, b'{"detail":"Method Not Allowed"}', InvalidInputError, "app/method answered 405"),
        (429, b"slow down", UnavailableError, "app/method answered 429: slow down"),
        (500, b"", UnavailableError, "app/method answered 500: None"),
        (503, b"<html>\xff", UnavailableError, "app/method answered 503: <html>"),
        (502, b'["a"]', UnavailableError, r"app/method answered 502: \['a'\]"),
        (500, b'{"errorCode":"ERR","message":"broken"}', UnavailableError, "app/method answered 500: broken"),
    ],
)
def test_a_failure_without_a_problem_body_says_who_answered_what(
    status: int, body: bytes, kind: type[DovecoteError], text: str
) -> None:
    with pytest.raises(DovecoteError, match=text) as caught:
        read_answer("app/method", status, body)
    assert type(caught.value) is kind


@pytest.mark.parametrize(("body", "value"), [(b"", None), (b"null", None), (b"17", 17), (b'{"a":[1]}', {"a": [1]})])
def test_a_success_is_its_json(body: bytes, value: object) -> None:
    assert read_answer("app/method", 200, body) == value
