"""Prompts, and conversations that are made to fit."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from dovecote.ports import ChatMessage, ToolCall
from dovecote.prompts import OMITTED, fitted, prompt, shortened


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Why?", "Why?"),
        (None, ""),
        ({}, ""),
        ({"question": "Why?"}, "Question:\nWhy?"),
        ({"question": "Why?", "draft_text": "So."}, "Question:\nWhy?\n\nDraft text:\nSo."),
        ({"question": "Why?", "remarks": None, "notes": ""}, "Question:\nWhy?"),
        ({"points": ["one", "two"]}, "Points:\n- one\n- two"),
        ({"a": {"b": "c"}}, "A:\nB:\nc"),
        (17, "17"),
        ([1, {"a": "ü"}], '[1,{"a":"ü"}]'),
    ],
)
def test_content_becomes_text_for_a_model(content: JsonValue, text: str) -> None:
    assert prompt(content) == text


@given(st.text(), st.integers(len(OMITTED) + 1, 200))
def test_a_shortened_text_is_within_its_limit_and_says_so(text: str, limit: int) -> None:
    short = shortened(text, limit)
    assert len(short) <= limit
    assert short == text if len(text) <= limit else short.endswith(OMITTED)


def _turn(number: int, *sizes: int) -> list[ChatMessage]:
    calls = [ToolCall(id=f"{number}.{index}", name="find", arguments="{}") for index in range(len(sizes))]
    results = [
        ChatMessage(role="tool", tool_call_id=call.id, content="r" * size)
        for call, size in zip(calls, sizes, strict=True)
    ]
    return [ChatMessage(role="assistant", content=f"turn {number}", tool_calls=calls), *results]


HEAD = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="Why?")]


def test_a_conversation_that_fits_stays_as_it_is() -> None:
    messages = [*HEAD, *_turn(1, 100), *_turn(2, 100)]
    assert fitted(messages, 1000) == messages


def test_the_oldest_tool_result_gives_way_first() -> None:
    messages = [*HEAD, *_turn(1, 500), *_turn(2, 500), *_turn(3, 500)]
    kept = fitted(messages, 1200)
    assert [message.content for message in kept if message.role == "tool"] == [OMITTED, "r" * 500, "r" * 500]
    assert [message.role for message in kept] == [message.role for message in messages]


def test_then_the_oldest_turns_give_way() -> None:
    messages = [*HEAD, *(message for number in range(20) for message in _turn(number, 100))]
    kept = fitted(messages, 300)
    assert kept[:2] == HEAD
    assert kept[-2:] == messages[-2:]
    assert sum(len(message.content) for message in kept) <= 300


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 300), max_size=3), max_size=8), st.integers(50, 1500))
def test_a_tool_result_never_stays_without_its_call_and_the_request_always_does(
    turns: list[list[int]], limit: int
) -> None:
    messages = [*HEAD, *(message for number, sizes in enumerate(turns) for message in _turn(number, *sizes))]
    kept = fitted(messages, limit)
    assert kept[:2] == HEAD
    called: set[str] = set()
    answered: set[str | None] = set()
    for message in kept:
        called |= {call.id for call in message.tool_calls}
        if message.role == "tool":
            assert message.tool_call_id in called
            answered.add(message.tool_call_id)
    assert answered == called
    if turns:
        latest = _turn(len(turns) - 1, *turns[-1])
        assert kept[-len(latest) :] == latest
