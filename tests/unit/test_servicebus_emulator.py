"""When the official emulator of Service Bus is used, and what it is told; it is not run here."""

import pytest

from deploy.local.components import load_components
from tests.support.brokers import COMPONENTS
from tests.support.servicebus import emulator

TOPICS = {"conformance.news": ["alpha", "beta"], "values": ["recorder"]}
NAMES = {"SERVICEBUS_EMULATOR_IMAGE": "the/emulator:1", "SERVICEBUS_EMULATOR_SQL_IMAGE": "the/sql:1"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images that the container engine, which has them, is asked for."""
    found: list[str] = []
    monkeypatch.setattr(emulator, "lacking", lambda *images: found.extend(images))
    for name in (*NAMES, "ACCEPT_EULA"):
        monkeypatch.delenv(name, raising=False)
    return found


def test_each_topic_is_declared_with_its_subscribers_and_what_the_components_file_asks_for() -> None:
    component = load_components([COMPONENTS / "servicebus"])[0]
    [namespace] = emulator.configuration(component, TOPICS)["UserConfig"]["Namespaces"]
    assert {
        topic["Name"]: [one["Name"] for one in topic["Subscriptions"]] for topic in namespace["Topics"]
    } == TOPICS
    properties = namespace["Topics"][0]["Subscriptions"][0]["Properties"]
    assert properties["LockDuration"] == f"PT{component.settings['lockDurationInSec']}S"
    assert properties["MaxDeliveryCount"] == int(component.settings["maxDeliveryCount"])


def test_it_is_used_where_its_images_are_named_its_licence_is_accepted_and_the_engine_has_them(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**NAMES, "ACCEPT_EULA": "Y"}.items():
        monkeypatch.setenv(name, value)
    assert emulator.unavailable(TOPICS) is None
    assert asked == list(NAMES.values())


def test_what_is_missing_for_it_is_said_and_no_engine_asked(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert emulator.unavailable(None) == "the emulator has too few connections for this"
    assert "SERVICEBUS_EMULATOR_IMAGE and SERVICEBUS_EMULATOR_SQL_IMAGE" in (emulator.unavailable(TOPICS) or "")
    for name, value in NAMES.items():
        monkeypatch.setenv(name, value)
    assert "ACCEPT_EULA=Y" in (emulator.unavailable(TOPICS) or "")
    assert asked == []
