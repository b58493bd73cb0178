"""Tools: schemas from signatures, and calls that count once."""

import asyncio
from datetime import date
from enum import StrEnum
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, Field, JsonValue

from dovecote import App, Call, ToolError, Tools, Write
from dovecote.errors import ConfigurationError, ModelError, NotFoundError, UnavailableError
from dovecote.messages import new_id
from dovecote.testing import MemoryState, Network
from dovecote.tools import ToolOutcome, ToolRequest
from services.directory.main import app as directory


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


CHECKED: list[int] = []


def _note(number: int) -> int:
    CHECKED.append(number)
    return number


class Place(BaseModel):
    city: str
    zip: int | None = None


tools = Tools("workshop", capabilities=["work"])


@tools.tool
def paint(colour: Colour, place: Place, when: date, coats: Annotated[int, Field(ge=1)] = 2) -> dict[str, Any]:
    """Paint a place."""
    return {"colour": colour, "city": place.city, "when": when, "coats": coats}


@tools.tool
def weigh(grams: Annotated[int, AfterValidator(_note)]) -> int:
    """Weigh something."""
    return grams


@tools.tool
async def deposit(account: str, amount: int, call: Call) -> int:
    """Put money into an account."""
    balance: int = await call.state.get(account, 0) + amount
    await asyncio.sleep(0)
    call.state.put(account, balance)
    await call.progress("half way", 1, 2)
    return balance


@tools.tool
async def transfer(call: Call) -> None:
    """Put two keys."""
    call.state.put("one", 1)
    call.state.put("two", 2)


@tools.tool
async def spill(call: Call) -> None:
    """Write, and fail."""
    call.state.put("spilled", 1)
    raise ToolError("spilled it")


@tools.tool
def strange() -> Any:
    """Return something that is not JSON."""
    return object()


@tools.tool
def broken() -> None:
    """Raise something foreign."""
    raise ZeroDivisionError("division by zero")


@tools.tool
def refused() -> None:
    """Raise something that no retry mends."""
    raise ModelError("bad key")


@tools.tool
def away() -> None:
    """Raise something that a retry mends."""
    raise UnavailableError("not now")


LOOKS: list[str] = []


@tools.tool(read_only=True)
def look(what: str) -> str:
    """Look at something."""
    LOOKS.append(what)
    return what


def _schema(name: str) -> dict[str, Any]:
    app: App = tools.app.state.dovecote
    return next(spec.parameters for spec in app.tools if spec.name == name)


def test_signature_and_docstring_are_the_schema() -> None:
    app: App = tools.app.state.dovecote
    assert next(spec.description for spec in app.tools if spec.name == "paint") == "Paint a place."
    schema = _schema("paint")
    assert schema["required"] == ["colour", "place", "when"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["coats"] == {"default": 2, "minimum": 1, "title": "Coats", "type": "integer"}
    assert schema["$defs"]["Colour"]["enum"] == ["red", "blue"]


def test_the_call_is_no_argument_of_the_schema() -> None:
    assert set(_schema("deposit")["properties"]) == {"account", "amount"}


def test_the_decorator_returns_the_function() -> None:
    assert paint(Colour.RED, Place(city="Rome"), date(2026, 1, 2))["coats"] == 2
    assert look.__name__ == "look"


def test_a_function_without_a_docstring_is_refused_by_name() -> None:
    def silent(a: int) -> int:
        return a

    with pytest.raises(ConfigurationError, match="'silent' has no docstring"):
        Tools("other").tool(silent)


def _untyped(a: int) -> None:
    """Untyped."""


del _untyped.__annotations__["a"]


def _starred(*rows: int) -> None:
    """Starred."""


def _named(**rows: int) -> None:
    """Named."""


@pytest.mark.parametrize(("function", "parameter"), [(_untyped, "a"), (_starred, "rows"), (_named, "rows")])
def test_a_parameter_without_a_plain_type_is_refused_by_name(function: Any, parameter: str) -> None:
    with pytest.raises(ConfigurationError, match=f"parameter '{parameter}' has no plain type"):
        Tools("other").tool(function)


@pytest.fixture
async def net() -> Any:
    async with Network([directory, tools]) as network:
        yield network


async def _call(net: Network, function: str, call_id: str = "", /, **arguments: Any) -> ToolOutcome:
    request = ToolRequest(id=call_id or new_id(), arguments=arguments, task_id="task")
    return ToolOutcome.model_validate(
        await net.invoke("workshop", f"tools/{function}", request.model_dump(mode="json"))
    )


async def test_arguments_arrive_as_the_types_of_the_signature(net: Network) -> None:
    outcome = await _call(net, "paint", colour="red", place={"city": "Rome"}, when="2026-01-02")
    assert outcome.result == {"colour": "red", "city": "Rome", "when": "2026-01-02", "coats": 2}


async def test_arguments_are_checked_once(net: Network) -> None:
    CHECKED.clear()
    assert (await _call(net, "weigh", grams=7)).result == 7
    assert CHECKED == [7]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"what": "a", "more": 1}, "more: Extra inputs are not permitted"),
        ({}, "what: Field required"),
        ({"what": ["a"]}, "what: Input should be a valid string"),
    ],
)
async def test_arguments_that_do_not_fit_are_an_error_for_the_model(
    net: Network, arguments: dict[str, Any], text: str
) -> None:
    outcome = await _call(net, "look", **arguments)
    assert outcome.error is not None
    assert outcome.error.type == "InvalidInputError"
    assert text in outcome.error.message


@pytest.mark.parametrize(
    ("function", "kind", "text"),
    [
        ("strange", "ToolError", "'strange' returned something that is not JSON"),
        ("broken", "ToolError", "'broken' raised ZeroDivisionError: division by zero"),
        ("refused", "ModelError", "bad key"),
        ("spill", "ToolError", "spilled it"),
        ("transfer", "ToolError", "a call changes one key: this one has put 'one', and now 'two'"),
    ],
)
async def test_what_a_function_raises_is_an_error_for_the_model(
    net: Network, function: str, kind: str, text: str
) -> None:
    outcome = await _call(net, function)
    assert outcome.error is not None
    assert outcome.error.type == kind
    assert text in outcome.error.message


async def test_an_error_that_a_retry_mends_is_raised_and_not_recorded(net: Network) -> None:
    with pytest.raises(UnavailableError, match="not now"):
        await _call(net, "away", "c1")
    assert await net.state("workshop").get("call:c1") is None


async def test_an_unknown_function_is_not_found_and_names_those_there_are(net: Network) -> None:
    with pytest.raises(NotFoundError, match="has no function 'dance'") as caught:
        await _call(net, "dance")
    assert "deposit" in caught.value.mend


async def test_a_call_that_comes_again_has_the_same_outcome_and_one_effect(net: Network) -> None:
    outcomes = [await _call(net, "deposit", "c1", account="a", amount=5) for _ in range(3)]
    assert [outcome.result for outcome in outcomes] == [5, 5, 5]
    assert (await _call(net, "deposit", account="a", amount=0)).result == 5


async def test_a_call_that_comes_several_times_at_once_runs_once(net: Network) -> None:
    outcomes = await asyncio.gather(*(_call(net, "deposit", "c1", account="a", amount=5) for _ in range(10)))
    assert {outcome.result for outcome in outcomes} == {5}
    assert (await _call(net, "deposit", account="a", amount=0)).result == 5


async def test_different_calls_on_one_key_at_once_lose_nothing(net: Network) -> None:
    await asyncio.gather(*(_call(net, "deposit", account="a", amount=1) for _ in range(20)))
    assert (await _call(net, "deposit", account="a", amount=0)).result == 20


async def test_a_failed_call_writes_nothing_and_stays_failed(net: Network) -> None:
    first = await _call(net, "spill", "c1")
    assert await _call(net, "spill", "c1") == first
    assert not [key for key in net.state("workshop").values() if "spilled" in key]


async def test_a_call_cut_off_between_effect_and_record_still_counts_once(net: Network) -> None:
    first = await _call(net, "deposit", "c1", account="a", amount=5)
    await _call(net, "deposit", "c2", account="a", amount=2)
    await net.state("workshop").delete("call:c1")
    assert await _call(net, "deposit", "c1", account="a", amount=5) == first
    assert (await _call(net, "deposit", account="a", amount=0)).result == 7


async def test_two_replicas_that_run_one_call_at_once_have_one_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Network([directory, tools]) as net:
        state = net.state("workshop")
        rival: JsonValue = {"value": 5, "calls": {"c1": {"result": 5, "error": None}}}
        real = MemoryState.get
        reads = 0

        async def get(self: MemoryState, key: str) -> Any:
            nonlocal reads
            found = await real(self, key)
            if key == "effect:a" and not reads:
                reads += 1
                self._rows["effect:a"] = self._row(Write("effect:a", rival))
            return found

        monkeypatch.setattr(MemoryState, "get", get)
        outcome = await _call(net, "deposit", "c1", account="a", amount=5)
        assert outcome.result == 5
        item = await state.get("effect:a")
        assert item is not None
        assert item.value["value"] == 5


async def test_a_read_only_function_runs_at_every_call(net: Network) -> None:
    LOOKS.clear()
    for _ in range(2):
        await _call(net, "look", "c1", what="here")
    assert LOOKS == ["here", "here"]
    assert not [key for key in net.state("workshop").values() if key.startswith("call:")]


async def test_a_call_without_an_id_is_a_call_of_its_own(net: Network) -> None:
    body: JsonValue = {"arguments": {"account": "a", "amount": 1}}
    answers = [await net.invoke("workshop", "tools/deposit", body) for _ in range(2)]
    assert [answer["result"] for answer in answers if isinstance(answer, dict)] == [1, 2]
