"""What every invocation does."""

from typing import Literal

import pytest
from pydantic import JsonValue

from dovecote.errors import (
    AgentUnavailableError,
    BudgetError,
    ConflictError,
    DovecoteError,
    InvalidInputError,
    ModelUnavailableError,
    NotFoundError,
    TooLargeError,
    ToolError,
    UnavailableError,
)
from tests.contracts.conftest import Kit

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "DELETE"])
async def test_a_call_carries_verb_body_query_and_headers(
    kit: Kit, verb: Literal["GET", "POST", "PUT", "DELETE"]
) -> None:
    body: JsonValue = None if verb in ("GET", "DELETE") else {"a": ["ü", 1]}
    answer = await kit.alpha.ports.invoke("beta", "echo?x=1&y=a%20b", body, verb=verb, headers={"x-mark": "m"})
    assert answer == {
        "verb": verb,
        "body": '{"a":["ü",1]}' if body else "",
        "mark": "m",
        "query": {"x": "1", "y": "a b"},
    }


async def test_an_answer_without_a_body_is_none(kit: Kit) -> None:
    assert await kit.alpha.ports.invoke("beta", "nothing") is None


@pytest.mark.parametrize(
    "kind",
    [
        InvalidInputError,
        TooLargeError,
        NotFoundError,
        ConflictError,
        ToolError,
        BudgetError,
        UnavailableError,
        ModelUnavailableError,
        DovecoteError,
    ],
)
async def test_an_error_comes_over_as_what_it_was(kit: Kit, kind: type[DovecoteError]) -> None:
    with pytest.raises(DovecoteError) as caught:
        await kit.alpha.ports.invoke("beta", f"problem/{kind.__name__}")
    assert type(caught.value) is kind
    assert "with 'quotes' and ümlauts" in str(caught.value)
    assert caught.value.mend == "mend it"


async def test_an_unexpected_error_tells_nothing_of_its_inside(kit: Kit) -> None:
    with pytest.raises(DovecoteError, match="InternalError: an unexpected error") as caught:
        await kit.alpha.ports.invoke("beta", "crash")
    assert "secret" not in str(caught.value)


async def test_input_that_does_not_fit_says_which_field(kit: Kit) -> None:
    with pytest.raises(InvalidInputError, match=r"body\.weight"):
        await kit.alpha.ports.invoke("beta", "parcel", {"weight": "heavy"})


async def test_a_method_that_does_not_exist_is_not_found(kit: Kit) -> None:
    with pytest.raises(NotFoundError, match="POST /no-such-method: Not Found"):
        await kit.alpha.ports.invoke("beta", "no-such-method")


async def test_an_app_that_does_not_run_is_unavailable_by_name(kit: Kit) -> None:
    with pytest.raises(AgentUnavailableError, match="'gamma' cannot be reached"):
        await kit.alpha.ports.invoke("gamma", "echo")


async def test_a_call_ends_at_its_time_limit(kit: Kit) -> None:
    with pytest.raises(UnavailableError, match=r"did not answer within 0.3 s"):
        await kit.alpha.ports.invoke("beta", "never", timeout=0.3)
