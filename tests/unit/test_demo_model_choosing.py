"""Tools are chosen, and their arguments filled, by the schemas and the question alone."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.demo_model.choosing import better_query, choose
from services.demo_model.wire import FunctionDefinition


def tool(name: str, description: str = "", required: tuple[str, ...] = (), **properties: Any) -> FunctionDefinition:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return FunctionDefinition(name=name, description=description, parameters=parameters)


STRING = {"type": "string"}
SEARCH = tool("search", "Passages that bear on a query.", ("query",), query=STRING, limit={"type": "integer"})
CALCULATE = tool("evaluate", "Value of an arithmetic expression.", ("expression",), expression=STRING)
UNITS = ["celsius", "fahrenheit"]
WEATHER = tool("weather", "Weather in a city.", ("city",), city=STRING, unit={"enum": UNITS})


def chosen(question: str, *tools: FunctionDefinition) -> list[tuple[str, Any]]:
    return [(call.name, json.loads(call.arguments)) for call in choose(question, list(tools))]


def test_every_tool_that_fits_is_called_with_its_own_part_of_the_question() -> None:
    question = "What is 12 percent of 80 and how are retries configured?"
    assert chosen(question, SEARCH, CALCULATE) == [
        ("search", {"query": "retries configured"}),
        ("evaluate", {"expression": "12 / 100 * 80"}),
    ]


def test_without_arithmetic_the_calculator_is_not_called() -> None:
    assert chosen("How are retries configured?", CALCULATE) == []


def test_with_nothing_but_arithmetic_the_search_is_not_called() -> None:
    assert chosen("What is 3 + 4?", SEARCH, CALCULATE) == [("evaluate", {"expression": "3 + 4"})]


def test_each_expression_is_a_call_of_its_own() -> None:
    assert chosen("What is 3 + 4 and 5 * 6?", CALCULATE) == [
        ("evaluate", {"expression": "3 + 4"}),
        ("evaluate", {"expression": "5 * 6"}),
    ]


def test_a_description_says_what_a_parameter_wants_as_well_as_a_name() -> None:
    calculate = tool("c", "", ("x",), x={"type": "string", "description": "The arithmetic to do"})
    look = tool("l", "", ("x",), x={"type": "string", "description": "What to search for"})
    assert chosen("What is 3 + 4 in Rome?", calculate, look) == [
        ("c", {"x": "3 + 4"}),
        ("l", {"x": "Rome"}),
    ]


def test_a_named_place_fills_a_string_and_a_named_choice_an_enum() -> None:
    assert chosen("How is the weather in Paris, in celsius?", WEATHER) == [
        ("weather", {"city": "Paris", "unit": "celsius"})
    ]


def test_a_tool_whose_required_parameter_cannot_be_filled_is_not_called() -> None:
    assert chosen("How is the weather over there?", WEATHER) == []


def test_a_tool_that_the_question_does_not_speak_of_is_not_called() -> None:
    assert chosen("Who was Ada Lovelace?", WEATHER) == []


def test_a_required_enum_needs_its_value_in_the_question() -> None:
    convert = tool("convert", "Convert to a unit.", ("unit",), unit={"enum": UNITS})
    assert chosen("Convert it to kelvin", convert) == []
    assert chosen("Convert it to Fahrenheit", convert) == [("convert", {"unit": "fahrenheit"})]


def test_numbers_fill_required_parameters_and_leave_optional_ones_out() -> None:
    page = {"type": "integer"}
    needs, may = tool("page", "Text of a page.", ("number",), number=page), tool("page", "A page.", (), number=page)
    assert chosen("Show page 12 of 40", needs) == [("page", {"number": 12})]
    assert chosen("Show page 12", may) == [("page", {})]
    assert chosen("Show the page", needs) == []


def test_references_and_alternatives_in_a_schema_are_followed() -> None:
    schema = {
        "type": "object",
        "properties": {"query": {"$ref": "#/$defs/Text"}, "tags": {"anyOf": [{"type": "null"}, {"enum": ["new"]}]}},
        "required": ["query"],
        "$defs": {"Text": {"type": "string"}},
    }
    function = FunctionDefinition(name="find", parameters=schema)
    assert chosen("What is new in Rome?", function) == [("find", {"query": "new Rome", "tags": "new"})]


def test_a_list_of_queries_gets_one() -> None:
    function = tool("find", "Search.", ("queries",), queries={"type": "array", "items": STRING})
    assert chosen("How are retries configured?", function) == [("find", {"queries": ["retries configured"]})]


def test_a_parameter_called_question_gets_the_question_as_it_was_asked() -> None:
    function = tool("ask", "Ask an expert.", ("question",), question=STRING)
    assert chosen("How are retries configured?", function) == [("ask", {"question": "How are retries configured?"})]


@pytest.mark.parametrize(("question", "calls"), [("Please refresh the cache", 1), ("How is tea made?", 0)])
def test_a_tool_without_parameters_is_called_when_its_name_is_spoken(question: str, calls: int) -> None:
    assert len(chosen(question, tool("refresh", "Fill the cache again."))) == calls


def test_a_second_query_narrows_to_the_names_or_is_not_made() -> None:
    assert better_query("Who is the king of Denmark?", "king Denmark") == "Denmark"
    assert better_query("Who is the king?", "king") is None
    assert better_query("Denmark?", "Denmark") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "required", "items", "enum", "$ref", "anyOf", "query", "const", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, derandomize=True)
@given(st.text(max_size=80), st.dictionaries(st.sampled_from(["type", "properties", "required", "$defs"]), JSON))
def test_no_schema_however_odd_upsets_the_choice(question: str, schema: dict[str, Any]) -> None:
    for call in choose(question, [FunctionDefinition(name="search", description="Search.", parameters=schema)]):
        assert isinstance(json.loads(call.arguments), dict)
