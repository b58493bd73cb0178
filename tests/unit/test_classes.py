"""Classes of message."""

import pytest

from dovecote import topics
from dovecote.classes import CLASSES, class_of
from dovecote.dapr.sidecar import COMPONENTS

pytestmark = [pytest.mark.promise("ARG-06"), pytest.mark.promise("MQT-02")]


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        (topics.inbox("writer"), "critical"),
        (topics.QUERY_ASK, "critical"),
        (topics.QUERY_RESPONSE, "responses"),
        ("agent/tools/call/calculator", "tool_calls"),
        ("agent/tools/response/calculator", "responses"),
        ("tools/weather/call/t-1", "tool_calls"),
        ("tools/weather/response/t-1", "responses"),
        ("agent/tools/register", "tool_registry"),
        ("tools/weather/register", "tool_registry"),
        ("tools/weather/status", "status"),
        (topics.client_status("writer"), "status"),
        ("agent/status/info", "status"),
        ("agent/status/info/more", "status"),
        ("logs/agent/writer", "logs"),
        ("logs", "events"),
        (topics.TASK_EVENTS, "events"),
        (topics.VALUES, "events"),
        ("client_status/a/b", "events"),
        ("my/own", "events"),
    ],
)
def test_a_topic_has_the_class_that_its_name_says(topic: str, name: str) -> None:
    assert class_of(topic).name == name


def test_status_and_tools_are_retained_and_responses_are_not() -> None:
    assert {one.name for one in CLASSES if one.retained} == {"status", "tool_registry"}


def test_every_class_goes_through_a_component_that_an_app_waits_for() -> None:
    assert {one.component for one in CLASSES} < set(COMPONENTS)
