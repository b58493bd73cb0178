"""Commands over the bus, in memory."""

import asyncio
import json
from typing import Any

import pytest

from dovecote import App, Commands, Message, MessageType, topics
from dovecote.errors import (
    CommandRejectedError,
    ConfigurationError,
    DeadlineError,
    ToolError,
)
from tests.support.eventually import eventually
from tests.support.till import Till, asker, outcomes, pay

pytestmark = pytest.mark.promise("AOS-07")


async def test_a_command_is_accepted_at_once_and_has_its_outcome_later() -> None:
    till = Till()
    till.goes.clear()
    async with asker(till.app) as (ann, _):
        accepted = await ann.bus.command("till", "pay", {"order": "a", "cents": 5})
        assert till.log in ([], ["a"])
        till.goes.set()
        assert await accepted.outcome() == 5
        assert await accepted.outcome() == 5
    assert till.log == ["a"]


async def test_an_unknown_command_is_refused_with_the_schema_of_those_there_are() -> None:
    async with asker(Till().app) as (ann, net):
        with pytest.raises(CommandRejectedError, match="app 'till' has no command 'burn'") as refused:
            await ann.bus.command("till", "burn")
        assert not net.bus.events(topics.DEAD_LETTERS)
    schema = json.loads(refused.value.mend.removeprefix("it takes "))
    assert set(schema["pay"]["properties"]) == {"order", "cents"}


@pytest.mark.parametrize("parameters", [{}, {"order": "a", "cents": "x"}, {"order": "a", "cents": 1, "more": 1}])
async def test_parameters_that_do_not_fit_are_refused_with_the_schema(parameters: Any) -> None:
    till = Till()
    async with asker(till.app) as (ann, _):
        with pytest.raises(CommandRejectedError, match="the arguments of 'pay' do not fit") as refused:
            await ann.bus.command("till", "pay", parameters)
    assert json.loads(refused.value.mend.removeprefix("it takes "))["required"] == ["order", "cents"]
    assert till.log == []


async def test_a_command_that_cannot_be_read_is_refused() -> None:
    async with asker(Till().app) as (ann, _):
        with pytest.raises(CommandRejectedError, match="cannot be read: command"):
            await ann.bus.request("till", {"do": "it"}, type=MessageType.COMMAND)


async def test_a_command_that_fails_is_the_error_it_failed_with() -> None:
    async with asker(Till().app) as (ann, _):
        accepted = await ann.bus.command("till", "pay", {"order": "lost", "cents": 1})
        with pytest.raises(ToolError, match="no such order") as failed:
            await accepted.outcome()
    assert failed.value.mend == "order it first"


async def test_who_was_cut_off_while_it_waited_for_an_outcome_may_ask_again() -> None:
    till = Till()
    till.goes.clear()
    async with asker(till.app) as (ann, _):
        accepted = await ann.bus.command("till", "pay", {"order": "a", "cents": 5}, timeout=5)
        other = asyncio.create_task(accepted.outcome())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(accepted.outcome(), 0.05)
        till.goes.set()
        assert await accepted.outcome() == 5
        assert await other == 5
    assert till.log == ["a"]


async def test_a_command_that_fails_for_now_is_tried_again() -> None:
    till = Till()
    async with asker(till.app) as (ann, _):
        accepted = await ann.bus.command("till", "pay", {"order": "flaky", "cents": 2})
        assert await accepted.outcome() == 2
    assert till.log == ["flaky"] * 3


async def test_a_command_that_comes_twice_has_its_effect_once_and_the_same_outcome() -> None:
    tills = [Till(), Till()]
    async with asker(*(till.app for till in tills)) as (ann, net):
        message = pay(reply_to=topics.replies("ann"))
        await asyncio.gather(*(ann.bus.send("till", message) for _ in range(4)))
        await net.bus.settled()
        await net.workflows("till").finished(message.id)
        assert net.state("till").values()["effect:a"]["value"] == 5
        assert set(outcomes(net)) == {5}
    assert sum(len(till.log) for till in tills) == 1


async def test_one_idempotency_key_is_one_effect() -> None:
    async with asker(Till().app) as (ann, net):
        for _ in range(2):
            accepted = await ann.bus.command("till", "pay", {"order": "a", "cents": 5}, idempotency_key="k")
            assert await accepted.outcome() == 5
        assert net.state("till").values()["effect:a"]["value"] == 5


async def test_one_idempotency_key_of_two_senders_is_two_effects() -> None:
    bob = App("bob", requests=True)
    async with asker(Till().app, bob) as (ann, _):
        for who, paid in ((ann, 5), (bob, 10)):
            accepted = await who.bus.command("till", "pay", {"order": "a", "cents": 5}, idempotency_key="k")
            assert await accepted.outcome() == paid


async def test_a_command_survives_its_recipients_absence() -> None:
    till = Till()
    async with asker(till.app, resend_after=0.05) as (ann, net):
        await net.stop("till")
        sending = asyncio.create_task(ann.bus.command("till", "pay", {"order": "a", "cents": 5}))
        await eventually(lambda: len(net.bus.events(topics.inbox("till"))) > 2, "three tries")
        await net.start("till")
        assert await (await sending).outcome() == 5
        await net.bus.settled()
    assert till.log == ["a"]


async def test_a_command_that_nobody_takes_ends_in_time() -> None:
    async with asker() as (ann, _):
        with pytest.raises(DeadlineError, match="'till' did not answer command"):
            await ann.bus.command("till", "pay", {}, timeout=0.2)


async def test_an_outcome_that_does_not_come_ends_in_time_and_says_that_the_command_was_taken() -> None:
    till = Till()
    till.goes.clear()
    async with asker(till.app) as (ann, _):
        accepted = await ann.bus.command("till", "pay", {"order": "a", "cents": 5}, timeout=0.5)
        with pytest.raises(DeadlineError, match="and it said that it has it"):
            await accepted.outcome()
        till.goes.set()


async def test_a_wrong_command_for_which_nobody_waits_is_a_dead_letter_with_the_reason() -> None:
    async with asker(Till().app) as (ann, net):
        sent = await ann.bus.send("till", {"command": "burn"}, type=MessageType.COMMAND)
        await net.bus.settled()
        [dead] = net.bus.events(topics.DEAD_LETTERS)
        [reason] = net.bus.events(topics.FAILURES)
    assert dead["id"] == sent.id
    assert "no command 'burn'" in reason["data"]["reason"]


async def test_a_handler_of_all_types_is_not_handed_the_commands() -> None:
    app, seen = App("till"), list[Message]()

    @app.bus.subscribe()
    async def keep(message: Message) -> None:
        seen.append(message)

    @Commands(app).command
    def pay(cents: int) -> int:
        """Pay."""
        return cents

    async with asker(app) as (ann, _):
        assert await (await ann.bus.command("till", "pay", {"cents": 3})).outcome() == 3
    assert seen == []


async def test_a_command_is_a_function_that_can_be_called() -> None:
    commands = Commands(App("shop"))

    @commands.command
    def greet(name: str) -> str:
        """Greet somebody."""
        return f"hello {name}"

    assert greet("bob") == "hello bob"
    assert [spec.name for spec in commands.specs] == ["greet"]
    with pytest.raises(ConfigurationError, match="no docstring"):
        commands.command(lambda: 1)
