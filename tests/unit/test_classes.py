"""Classes of message."""

import pytest

from dovecote import App, Message, MessageType, Priority, topics
from dovecote.classes import CLASSES, URGENT, Lane, class_of, is_urgent, lane_of
from dovecote.dapr.sidecar import COMPONENTS
from dovecote.errors import ConfigurationError

pytestmark = [pytest.mark.promise("ARG-06"), pytest.mark.promise("MQT-02")]


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        (topics.inbox("writer"), "critical"),
        (topics.QUERY_ASK, "critical"),
        (topics.QUERY_RESPONSE, "responses"),
        (topics.replies("writer"), "responses"),
        ("agent/tools/call/calculator", "tool_calls"),
        ("agent/tools/response/calculator", "responses"),
        ("tools/weather/call/t-1", "tool_calls"),
        ("tools/weather/response/t-1", "responses"),
        (topics.tool_tasks("weather"), "tool_calls"),
        ("tools/weather/response", "responses"),
        (topics.agent_topic("writer"), "monitoring"),
        ("agent/tools/register", "tool_registry"),
        ("tools/weather/register", "tool_registry"),
        ("tools/weather/status", "status"),
        (topics.client_status("writer"), "status"),
        ("agent/status/info", "status"),
        ("agent/status/info/more", "status"),
        ("logs/agent/writer", "logs"),
        ("logs", "events"),
        (topics.TASK_EVENTS, "records"),
        (topics.VALUES, "records"),
        (topics.DEAD_LETTERS, "records"),
        (topics.FAILURES, "records"),
        ("client_status/a/b", "events"),
        ("my/own", "events"),
    ],
)
def test_a_topic_has_the_class_that_its_name_says(topic: str, name: str) -> None:
    assert class_of(topic).name == name


def test_status_and_tools_are_retained_and_responses_are_not() -> None:
    assert {one.name for one in CLASSES if one.retained} == {"status", "tool_registry"}


def test_every_class_goes_through_a_component_that_an_app_waits_for() -> None:
    assert {one.component for one in CLASSES} | {URGENT} < set(COMPONENTS)


@pytest.mark.parametrize("priority", Priority)
def test_what_is_critical_or_high_takes_a_lane_of_its_own(priority: Priority) -> None:
    urgent = is_urgent(Message(type=MessageType.TASK, sender="tests", priority=priority))
    assert urgent == (priority in {Priority.CRITICAL, Priority.HIGH})
    inbox = topics.inbox("writer")
    wanted = Lane("urgent", f"{inbox}/urgent") if urgent else Lane("pubsub", inbox)
    assert lane_of(inbox, urgent=urgent) == wanted


def test_a_message_with_an_order_key_keeps_its_place() -> None:
    assert not is_urgent(Message(type=MessageType.EVENT, sender="tests", priority=Priority.HIGH, order_key="a"))


@pytest.mark.parametrize(
    "topic",
    ["logs/info", topics.client_status("urgent"), topics.QUERY_RESPONSE, topics.tool_calls("scale"), topics.VALUES],
)
def test_a_topic_whose_class_has_no_lanes_is_carried_as_it_is(topic: str) -> None:
    assert lane_of(topic, urgent=True) == lane_of(topic) == Lane(class_of(topic).component, topic)
    assert not class_of(topic).lanes


def test_the_name_of_a_lane_is_no_topic() -> None:
    with pytest.raises(ConfigurationError, match=r"'my/own/urgent' is the lane of what is urgent on 'my/own'"):
        lane_of("my/own/urgent")


def test_who_subscribes_to_a_topic_takes_all_its_lanes() -> None:
    async def handle(_: Message) -> None:
        raise AssertionError("nothing is delivered here")

    app = App("clerk")
    app.subscribe("my/own", bulk=True)(handle)
    app.subscribe("logs/info")(handle)
    assert [(one.topic, one.lane, one.bulk) for one in app.subscriptions] == [
        ("my/own", Lane("pubsub", "my/own"), True),
        ("my/own", Lane("urgent", "my/own/urgent"), True),
        ("logs/info", Lane("news", "logs/info"), False),
    ]
