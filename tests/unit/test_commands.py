"""Commands over the bus, in memory."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dovecote import App, Call, Commands, Message, MessageType, once, topics
from dovecote.errors import CommandRejectedError, ConfigurationError, DeadlineError, ToolError, UnavailableError
from dovecote.settings import Settings
from dovecote.testing import Network
from tests.support.eventually import eventually

pytestmark = pytest.mark.promise("AOS-07")


class Till:
    """An app with commands."""

    def __init__(self) -> None:
        self.app = App("till")
        self.log: list[str] = []
        self.goes = asyncio.Event()
        self.goes.set()
        commands = Commands(self.app)

        @commands.command
        async def pay(order: str, cents: int, call: Call) -> int:
            """Pay an order; returns what was paid for it so far."""
            self.log.append(order)
            await self.goes.wait()
            if order == "lost":
                raise ToolError("there is no such order", mend="order it first")
            if order == "flaky" and self.log.count("flaky") < 3:
                raise UnavailableError("not yet")
            paid = int(await call.state.get(order, 0)) + cents
            call.state.put(order, paid)
            return paid

        self.pay = pay


@contextlib.asynccontextmanager
async def _asker(*apps: App, resend_after: float = 5.0) -> AsyncIterator[tuple[App, Network]]:
    ann = App("ann", requests=True)
    async with Network([ann, *apps], settings=Settings(resend_after=resend_after)) as net:
        yield ann, net


async def test_a_command_is_accepted_at_once_and_has_its_outcome_later() -> None:
    till = Till()
    till.goes.clear()
    async with _asker(till.app) as (ann, _):
        accepted = await ann.bus.command("till", "pay", {"order": "a", "cents": 5})
        assert till.log in ([], ["a"])
        till.goes.set()
        assert await accepted.outcome() == 5
        assert await accepted.outcome() == 5
    assert till.log == ["a"]


async def test_an_unknown_command_is_refused_with_the_schema_of_those_there_are() -> None:
    async with _asker(Till().app) as (ann, net):
        with pytest.raises(CommandRejectedError, match="app 'till' has no command 'burn'") as refused:
            await ann.bus.command("till", "burn")
        assert not net.bus.events(topics.DEAD_LETTERS)
    schema = json.loads(refused.value.mend.removeprefix("it takes "))
    assert set(schema["pay"]["properties"]) == {"order", "cents"}


@pytest.mark.parametrize("parameters", [{}, {"order": "a", "cents": "x"}, {"order": "a", "cents": 1, "more": 1}])
async def test_parameters_that_do_not_fit_are_refused_with_the_schema(parameters: Any) -> None:
    till = Till()
    async with _asker(till.app) as (ann, _):
        with pytest.raises(CommandRejectedError, match="the arguments of 'pay' do not fit") as refused:
            await ann.bus.command("till", "pay", parameters)
    assert json.loads(refused.value.mend.removeprefix("it takes "))["required"] == ["order", "cents"]
    assert till.log == []


async def test_a_command_that_cannot_be_read_is_refused() -> None:
    async with _asker(Till().app) as (ann, _):
        with pytest.raises(CommandRejectedError, match="cannot be read: command"):
            await ann.bus.request("till", {"do": "it"}, type=MessageType.COMMAND)


async def test_a_command_that_fails_is_the_error_it_failed_with() -> None:
    async with _asker(Till().app) as (ann, _):
        accepted = await ann.bus.command("till", "pay", {"order": "lost", "cents": 1})
        with pytest.raises(ToolError, match="no such order") as failed:
            await accepted.outcome()
    assert failed.value.mend == "order it first"


async def test_who_was_cut_off_while_it_waited_for_an_outcome_may_ask_again() -> None:
    till = Till()
    till.goes.clear()
    async with _asker(till.app) as (ann, _):
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
    async with _asker(till.app) as (ann, _):
        accepted = await ann.bus.command("till", "pay", {"order": "flaky", "cents": 2})
        assert await accepted.outcome() == 2
    assert till.log == ["flaky"] * 3


async def test_a_command_that_comes_twice_has_its_effect_once_and_the_same_outcome() -> None:
    tills = [Till(), Till()]
    async with _asker(*(till.app for till in tills)) as (ann, net):
        message = Message(
            type=MessageType.COMMAND,
            sender="ann",
            content={"command": "pay", "parameters": {"order": "a", "cents": 5}},
            reply_to=topics.replies("ann"),
        )
        await asyncio.gather(*(ann.bus.send("till", message) for _ in range(4)))
        await net.bus.settled()
        outcomes = [row["data"] for row in net.bus.events(topics.replies("ann")) if row["type"] == "response"]
        assert net.state("till").values()["effect:a"]["value"] == 5
    assert outcomes
    assert set(outcomes) == {5}
    assert sum(len(till.log) for till in tills) == 1


async def test_one_idempotency_key_is_one_effect() -> None:
    async with _asker(Till().app) as (ann, net):
        for _ in range(2):
            accepted = await ann.bus.command("till", "pay", {"order": "a", "cents": 5}, idempotency_key="k")
            assert await accepted.outcome() == 5
        assert net.state("till").values()["effect:a"]["value"] == 5


async def test_one_idempotency_key_of_two_senders_is_two_effects() -> None:
    bob = App("bob", requests=True)
    async with _asker(Till().app, bob) as (ann, _):
        for asker, paid in ((ann, 5), (bob, 10)):
            accepted = await asker.bus.command("till", "pay", {"order": "a", "cents": 5}, idempotency_key="k")
            assert await accepted.outcome() == paid


async def test_a_command_for_which_nobody_waits_is_held_until_the_replica_that_is_at_it_is_done_or_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(once, "LEASE", 0.3)
    first, second = Till(), Till()
    first.goes.clear()
    command = Message(
        type=MessageType.COMMAND,
        sender="ann",
        content={"command": "pay", "parameters": {"order": "a", "cents": 5}},
    )
    async with _asker(first.app, second.app) as (_, net):
        working = asyncio.create_task(first.app.inbox.take(command))
        await eventually(lambda: first.log, "the handler")
        again = asyncio.create_task(second.app.inbox.take(command))
        key = f"request:{command.id}"
        await eventually(lambda: net.state("till").values()[key]["beat"] >= 10, "signs of life")
        assert not again.done()
        working.cancel()
        await again
        assert net.state("till").values()["effect:a"]["value"] == 5
    assert second.log == ["a"]


async def test_a_command_survives_its_recipients_absence() -> None:
    till = Till()
    async with _asker(till.app, resend_after=0.05) as (ann, net):
        await net.stop("till")
        sending = asyncio.create_task(ann.bus.command("till", "pay", {"order": "a", "cents": 5}))
        await eventually(lambda: len(net.bus.events(topics.inbox("till"))) > 2, "three tries")
        await net.start("till")
        assert await (await sending).outcome() == 5
        await net.bus.settled()
    assert till.log == ["a"]


async def test_a_command_that_nobody_takes_ends_in_time() -> None:
    async with _asker() as (ann, _):
        with pytest.raises(DeadlineError, match="'till' did not answer command"):
            await ann.bus.command("till", "pay", {}, timeout=0.2)


async def test_an_outcome_that_does_not_come_ends_in_time_and_says_that_the_command_was_taken() -> None:
    till = Till()
    till.goes.clear()
    async with _asker(till.app) as (ann, _):
        accepted = await ann.bus.command("till", "pay", {"order": "a", "cents": 5}, timeout=0.5)
        with pytest.raises(DeadlineError, match="and it said that it has it"):
            await accepted.outcome()
        till.goes.set()


async def test_a_wrong_command_for_which_nobody_waits_is_a_dead_letter_with_the_reason() -> None:
    async with _asker(Till().app) as (ann, net):
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

    async with _asker(app) as (ann, _):
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
