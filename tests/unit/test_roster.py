"""The roster of the directory: three states, and each change told once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dovecote.directory import Registration
from services.directory.roster import Roster

pytestmark = pytest.mark.promise("MQT-04")

START = datetime(2026, 5, 4, tzinfo=UTC)
ONLINE, UNGRACEFUL, CLEAN = "online", "offline - ungraceful disconnect", "offline - clean disconnect"
SEARCH = {"name": "search", "description": "Find.", "parameters": {}}


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def lease(replica: str = "1", **fields: Any) -> Registration:
    row = {"app_id": "writer", "replica": replica, "kind": "agent", "capabilities": [], "lease": 15}
    return Registration.model_validate(row | fields)


def told(roster: Roster) -> list[Any]:
    return [(one.topic, one.message.content) for one in roster.untold]


def test_an_app_is_online_while_any_replica_is_there() -> None:
    roster = Roster()
    roster.join(lease("1"), at(0))
    roster.join(lease("2"), at(1))
    roster.lapse("writer", "1", at(2))
    entry = roster.apps["writer"]
    assert (entry.state, entry.since, entry.replicas) == (ONLINE, at(0), ["2"])
    assert told(roster) == [("client_status/writer", ONLINE)]


@pytest.mark.parametrize(("way", "state"), [("leave", CLEAN), ("lapse", UNGRACEFUL)])
def test_the_way_of_the_last_replica_says_what_kind_of_disconnect_it_was(way: str, state: str) -> None:
    roster = Roster()
    roster.join(lease("1"), at(0))
    roster.join(lease("2"), at(0))
    other = roster.lapse if way == "leave" else roster.leave
    other("writer", "1", at(1))
    getattr(roster, way)("writer", "2", at(2))
    assert (roster.apps["writer"].state, roster.apps["writer"].since) == (state, at(2))
    assert told(roster) == [("client_status/writer", ONLINE), ("client_status/writer", state)]


def test_what_changes_nothing_is_not_told() -> None:
    roster = Roster()
    roster.join(lease(), at(0))
    roster.join(lease(), at(1))
    roster.leave("writer", "1", at(2))
    roster.leave("writer", "1", at(3))
    roster.lapse("writer", "1", at(3))
    roster.leave("nobody", "1", at(3))
    assert told(roster) == [("client_status/writer", ONLINE), ("client_status/writer", CLEAN)]
    assert "nobody" not in roster.apps


def test_an_announcement_is_the_same_message_whoever_publishes_it() -> None:
    rosters = [Roster(), Roster()]
    for roster in rosters:
        roster.join(lease(), at(0))
    [one], [other] = (roster.untold for roster in rosters)
    assert one == other
    assert one.message.timestamp == at(0)


def test_what_a_tool_offers_is_told_while_it_is_online_and_cleared_after() -> None:
    roster = Roster()
    roster.join(lease(kind="tool", tools=[SEARCH]), at(0))
    roster.join(lease(kind="tool", tools=[]), at(1))
    roster.lapse("writer", "1", at(2))
    offers = [content for topic, content in told(roster) if topic == "tools/writer/register"]
    assert offers == [{"name": "writer", "functions": [SEARCH]}, {"name": "writer", "functions": []}, None]


def test_a_service_that_offers_tools_of_others_stays_a_service() -> None:
    roster = Roster()
    roster.join(lease("tool", kind="tool", tools=[SEARCH]), at(0))
    roster.join(lease("own", kind="service"), at(1))
    roster.join(lease("tool", kind="tool", tools=[SEARCH]), at(2))
    assert roster.apps["writer"].kind == "service"
