"""Requests and commands: their sender waits for the answer."""

import asyncio

import pytest
from pydantic import JsonValue

from dovecote import Message, MessageType
from dovecote.errors import CommandRejectedError
from tests.conformance.fleet import Fleet, names


@pytest.mark.promise("AOS-06")
async def test_each_of_300_requests_gets_its_own_answer(fleet: Fleet) -> None:
    """Each of 300 requests at once, of three replicas of one app, gets its own answer."""
    asked = {replica: [f"{replica} {number}" for number in range(100)] for replica in names("alpha")}
    answers = await asyncio.gather(
        *(fleet.request(replica, "beta", contents) for replica, contents in asked.items())
    )
    assert answers == [[{"answer": content} for content in contents] for contents in asked.values()]


@pytest.mark.promise("AOS-07")
async def test_a_command_has_its_effect_once(fleet: Fleet) -> None:
    """A command that is given twice has its effect once, and both get its outcome; a wrong one is refused."""
    account = Message(type=MessageType.COMMAND, sender="tests")
    outcomes = await asyncio.gather(fleet.command(account), fleet.command(account))
    assert [*outcomes] == [1, 1]
    assert await fleet.effects(account) == [1]
    wrong: JsonValue = {"recipient": "alpha", "command": "count", "parameters": {}, "key": "wrong", "seconds": 60}
    with pytest.raises(CommandRejectedError, match="the arguments of 'count' do not fit") as refused:
        await fleet.call("beta", "commands", wrong)
    assert '"required": ["account"]' in refused.value.mend
