"""The calculator as agents call it."""

from typing import Any

from pydantic import JsonValue

from dovecote.testing import Network
from services.directory.main import app as directory
from services.tools.calculator.main import app as calculator


async def _evaluate(expression: str) -> dict[str, Any]:
    async with Network([directory, calculator]) as network:
        request: JsonValue = {"arguments": {"expression": expression}}
        outcome = await network.invoke("calculator", "tools/evaluate", request)
    assert isinstance(outcome, dict)
    return outcome


async def test_a_value_comes_with_its_expression() -> None:
    expected = {"expression": "(3 + 4) * 2", "value": "14", "exact": True}
    assert await _evaluate("(3 + 4) * 2") == {"result": expected, "error": None}


async def test_a_bad_expression_is_explained_to_the_model() -> None:
    error = (await _evaluate("2 + (3"))["error"]
    assert error["type"] == "ToolError"
    assert error["message"] == "The brackets do not match: '(' was never closed (at character 5)"
