"""SQL filters of Azure Service Bus, and the conditions that they are."""

import re
import sys
from collections.abc import Callable
from functools import partial, reduce
from operator import eq
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dovecote import App, Mailbox
from dovecote.adapters import sqlfilter
from dovecote.adapters.sqlfilter import to_cel
from dovecote.errors import ConfigurationError
from dovecote.matching import condition_of
from dovecote.settings import Settings
from dovecote.testing import Network
from tests.support.generated import JSON, TEXT

pytestmark = pytest.mark.promise("AOS-21")

# What a filter says of a content: true, false, or unknown, as None.
Meaning = Callable[[dict[str, Any]], bool | None]
# A filter's text, and its meaning, made side by side.
Filter = tuple[str, Meaning]

NAMES = st.sampled_from(["a", "order", "island", "agent id", "x]y", 'say "hi"', "ünï"])
LITERALS = st.sampled_from([0.0, 1.0, -2.5, 1e22, "", "ceo_agent", "it's", "50%", "a.b", "\n", "é\\", True, False])
PATTERNS = st.text("ab.%_\\'(\n", max_size=6)
CONTENTS = st.dictionaries(NAMES, LITERALS | st.none() | st.text("ab.%_\\'(\n", max_size=5) | JSON, max_size=5)
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda one, other: one == other,
    "<>": lambda one, other: one != other,
    "!=": lambda one, other: one != other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}


def kind(value: object) -> type | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float
    return type(value)


def asked(name: str, literal: object, holds: Callable[[Any], bool]) -> Meaning:
    return lambda content: holds(content[name]) if kind(content.get(name)) is kind(literal) else None


def said(literal: object) -> str:
    if isinstance(literal, bool):
        return str(literal)
    return "'" + literal.replace("'", "''") + "'" if isinstance(literal, str) else repr(literal)


def named(name: str) -> str:
    return f"[{name.replace(']', ']]')}]"


def negated(one: Filter) -> Filter:
    def meaning(content: dict[str, Any]) -> bool | None:
        found = one[1](content)
        return None if found is None else not found

    return f"NOT ({one[0]})", meaning


def joined(word: str, decisive: bool, parts: list[Filter]) -> Filter:
    def meaning(content: dict[str, Any]) -> bool | None:
        found = [part[1](content) for part in parts]
        if decisive in found:
            return decisive
        return None if None in found else not decisive

    return f" {word} ".join(f"({text})" for text, _ in parts), meaning


@st.composite
def comparisons(draw: st.DrawFn) -> Filter:
    name, literal = draw(NAMES), draw(LITERALS)
    signs = ["=", "<>", "!="] if isinstance(literal, bool) else [*COMPARISONS]
    sign = draw(st.sampled_from(signs))
    meaning = asked(name, literal, lambda value: COMPARISONS[sign](value, literal))
    if draw(st.booleans()):
        flipped = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(sign, sign)
        return f"{said(literal)} {flipped} {named(name)}", meaning
    return f"user.{named(name)}{sign}{said(literal)}", meaning


@st.composite
def choices(draw: st.DrawFn) -> Filter:
    name, literals = draw(NAMES), draw(st.lists(LITERALS, min_size=1, max_size=3))
    each = [asked(name, literal, partial(eq, literal)) for literal in literals]
    _, meaning = joined("OR", True, [("", one) for one in each])
    listed = f"IN ({', '.join(map(said, literals))})"
    if draw(st.booleans()):
        return f"{named(name)} NOT {listed}", negated(("", meaning))[1]
    return f"{named(name)} {listed}", meaning


@st.composite
def likenesses(draw: st.DrawFn) -> Filter:
    name, pattern = draw(NAMES), draw(PATTERNS)
    parts = (".*" if one == "%" else "." if one == "_" else re.escape(one) for one in pattern)
    fits = re.compile("".join(parts), re.DOTALL).fullmatch
    meaning = asked(name, "", lambda value: fits(value) is not None)
    if draw(st.booleans()):
        return f"{named(name)} not like {said(pattern)}", negated(("", meaning))[1]
    return f"{named(name)} LIKE {said(pattern)}", meaning


@st.composite
def presences(draw: st.DrawFn) -> Filter:
    name = draw(NAMES)
    filters: list[Filter] = [
        (f"{named(name)} IS NULL", lambda content: content.get(name) is None),
        (f"{named(name)} is not null", lambda content: content.get(name) is not None),
        (f"Exists({named(name)})", lambda content: name in content),
    ]
    return draw(st.sampled_from(filters))


FILTERS: st.SearchStrategy[Filter] = st.recursive(
    comparisons() | choices() | likenesses() | presences(),
    lambda inner: (
        inner.map(negated)
        | st.builds(partial(joined, "AND", False), st.lists(inner, min_size=2, max_size=3))
        | st.builds(partial(joined, "or", True), st.lists(inner, min_size=2, max_size=3))
    ),
    max_leaves=6,
)


@given(FILTERS, CONTENTS)
def test_a_filter_and_its_condition_hold_for_the_same_contents(one: Filter, content: dict[str, Any]) -> None:
    text, meaning = one
    assert condition_of(to_cel(text))({"id": "1", "data": content}) is (meaning(content) is True)


@given(FILTERS, st.none() | TEXT | st.lists(JSON, max_size=2))
def test_of_content_without_properties_a_filter_can_be_asked_too(one: Filter, content: Any) -> None:
    text, meaning = one
    for event in ({"id": "1", "data": content}, {"id": "1"}):
        assert condition_of(to_cel(text))(event) is (meaning({}) is True)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("agent_id = 'ceo_agent'", {"agent_id": "ceo_agent"}),
        ("a = 1 OR b = 1 AND b = 2", {"a": 1}),
        ("NOT a = 2 AND a = 1", {"a": 1}),
        ("not NOT a=1", {"a": 1}),
        ("andrew = 1 and nothing = +2 or [or] = .5e1", {"or": 5}),
        ("a LIKE '50!%%' ESCAPE '!'", {"a": "50% off"}),
        (r"a LIKE '\_\\' ESCAPE '\'", {"a": "_\\"}),
        ('"agent id" = 1', {"agent id": 1}),
    ],
)
def test_a_filter_is_read_as_sql_reads_it(text: str, content: dict[str, Any]) -> None:
    condition = condition_of(to_cel(text))
    assert condition({"id": "1", "data": content})
    assert not condition({"id": "1", "data": dict.fromkeys(content, "other")})


@pytest.mark.parametrize(
    ("text", "cause", "mend"),
    [
        ("", "cannot be read at its end", "there may be comparisons"),
        ("a =", "cannot be read at its end", "there may be comparisons"),
        ("a = 'x", "cannot be read at character 5", "there may be comparisons"),
        ("a + 1 = 2", "cannot be read at character 3", "say in CEL what is more"),
        ("a = b", "cannot be read at character 5", "a property with a literal"),
        ("a = NULL", "cannot be read at character 5", "IS NULL"),
        ("1 = 1", "cannot be read at character 5", "a property with a literal"),
        ("newid() = 1", "cannot be read at character 6", "say in CEL what is more"),
        ("a = @parameter", "cannot be read at character 5", "a property with a literal"),
        ("sys.Label = 'x'", "asks for sys.Label, which only Service Bus has", "such as event.type"),
        ("a < TRUE", "asks for a < True", "write = or <>"),
        ("a = 1e999", "has 1e999", "not so large"),
        ("a LIKE 'x' ESCAPE '!!'", "has ESCAPE '!!'", "give it one character"),
    ],
)
def test_what_has_no_counterpart_is_refused_with_the_reason(text: str, cause: str, mend: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(cause)) as caught:
        to_cel(text)
    assert mend in caught.value.mend


def test_a_filter_as_long_as_the_service_takes_is_read() -> None:
    for text in (
        "(" * 500 + "a = 1" + ")" * 500,
        "NOT " * 250 + "a = 1",
        reduce("{1} OR {0}".format, ["a=1"] * 120),
    ):
        assert condition_of(to_cel(text))({"id": "1", "data": {"a": 1}})


def test_without_the_library_a_filter_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lark", None)
    sqlfilter._reader.cache_clear()
    with pytest.raises(ConfigurationError, match="needs lark") as caught:
        to_cel("a = 1")
    assert "dovecote[routing]" in caught.value.mend


async def test_what_a_filtered_subscription_takes_is_received_and_completed() -> None:
    agent, sender = App("ceo-agent"), App("sender")
    subscription = Mailbox(agent)
    agent.subscribe("agent_tasks", match=to_cel("agent_id = 'ceo_agent' AND priority >= 2"))(subscription.put)
    async with Network([agent, sender], settings=Settings()) as net:
        for number, name in enumerate(["ceo_agent", "cfo_agent", "ceo_agent", "ceo_agent"]):
            await sender.bus.publish("agent_tasks", {"agent_id": name, "priority": number})
        await net.bus.settled()
        received = await subscription.get_messages()
        assert [message.content for message in received] == [
            {"agent_id": "ceo_agent", "priority": number} for number in (2, 3)
        ]
        for message in received:
            await subscription.acknowledge(message.id)
        assert await subscription.receive() is None
        assert (await subscription.stats()).acknowledged == 2
