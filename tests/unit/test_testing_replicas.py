"""Replicas of one app in a network in memory."""

import asyncio
from typing import Any

from pydantic import JsonValue

from dovecote import App, Message, MessageType, Write
from dovecote.ports import Steps, WorkflowContext
from dovecote.testing import Network

TOPIC = "some/topic"


def _message(content: JsonValue) -> Message:
    return Message(type=MessageType.EVENT, sender="tests", content=content)


async def test_replicas_share_the_work_and_the_state_and_one_goes_on_without_the_other() -> None:
    seen: dict[str, list[JsonValue]] = {"a": [], "a-2": []}
    replicas = App("a"), App("a")
    for replica, name in zip(replicas, seen, strict=True):

        @replica.subscribe(TOPIC)
        async def keep(message: Message, replica: App = replica, name: str = name) -> None:
            seen[name].append(message.content)
            await replica.running.ports.state.write(Write(str(message.content), name))

    async with Network(replicas) as net:
        await net.bus.publish_batch(TOPIC, [_message(number) for number in range(4)])
        await net.bus.settled()
        assert sorted(map(len, seen.values())) == [2, 2]
        assert len(net.state("a").values()) == 4
        await net.stop("a")
        await net.bus.publish(TOPIC, _message(4))
        await net.bus.settled()
        assert seen["a-2"][-1] == 4
        assert net.state("a-2") is net.state("a")
        assert await net.invoke("a", "healthz", verb="GET") == {"status": "ok"}


async def test_a_run_goes_on_in_the_replica_that_is_left() -> None:
    ran: list[str] = []

    def workflow(context: WorkflowContext, data: Any) -> Steps:
        yield context.wait_for_external_event("go")
        yield context.call_activity("do", None)
        return None

    replicas = App("a"), App("a")
    for replica, name in zip(replicas, ("a", "a-2"), strict=True):

        async def do(_: Any, name: str = name) -> None:
            ran.append(name)

        replica.workflows["w"], replica.activities["do"] = workflow, do
    async with Network(replicas) as net:
        await net.workflows("a").schedule("w", None, instance_id="i")
        await net.stop("a-2")
        await net.workflows("a").raise_event("i", "go", {"n": 1})
        await asyncio.wait_for(net.workflows("a").finished("i"), 5)
    assert ran == ["a"]
