"""What is killed, stopped or away, and what becomes of the messages meanwhile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from pydantic import JsonValue

from dovecote import Message
from dovecote.errors import UnavailableError
from dovecote.messages import new_id
from tests.conformance.apps.receiver import TROUBLE
from tests.conformance.fleet import LIMIT, Fleet
from tests.conformance.test_delivery import AT_ONCE, event
from tests.support.eventually import eventually

LOAD = 1000


async def test_a_killed_app_loses_nothing(fleet: Fleet) -> None:
    """A message whose app is killed after the effect is handled again, and has the effect once."""
    message = event()
    hold = fleet.log.hold(message)
    await fleet.publish(message, topic=TROUBLE)
    entry = await hold.entry()
    await fleet.kill(fleet.name_of(entry.replica))
    hold.release()
    await fleet.again(message, 2)
    assert await fleet.effects(message) == [1]


async def test_a_killed_sidecar_loses_nothing(fleet: Fleet, exception: str | None) -> None:
    """A message whose sidecar is killed while it is handled is handled again, and has the effect once."""
    message, later = event(), event()
    hold = fleet.log.hold(message, step="before")
    await fleet.publish(message, topic=TROUBLE)
    entry = await hold.entry()
    await fleet.kill_sidecar(fleet.name_of(entry.replica))
    hold.release(error="UnavailableError")
    if exception:
        await fleet.ready()
        await fleet.publish(later, topic=TROUBLE)
        await fleet.handled(later)
        assert not fleet.log.handled(message)
        return
    await fleet.handled(message)
    await fleet.ready()
    assert await fleet.effects(message) == [1]


async def test_an_event_waits_for_a_receiver_that_is_away(fleet: Fleet, exception: str | None) -> None:
    """An event waits for a receiver that is away."""
    message = event()
    await fleet.stop("alpha")
    await fleet.publish(message)
    await fleet.start("alpha")
    await _kept(fleet, message, exception)


@dataclass(frozen=True)
class Outage:
    """What was sent to alpha and worker while they were away, and while the broker was."""

    message: Message
    accounts: list[Message]
    outcomes: list[asyncio.Task[JsonValue]]
    answers: list[asyncio.Task[list[JsonValue]]]
    tasks: list[asyncio.Task[str]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def outage(running: Fleet, hopeless: Message, pytestconfig: pytest.Config) -> AsyncIterator[Outage]:
    """An outage that is over, of which every test looks at something else."""
    assert hopeless
    seconds: float = pytestconfig.getoption("--outage")
    message, away, killed = event(), event(), event()
    await running.ready()
    await running.stop("alpha", "worker")
    await running.publish(message)
    outcomes = [asyncio.create_task(running.command(away))]
    answers = [asyncio.create_task(running.request("beta", "alpha", ["away"], LIMIT))]
    tasks = [asyncio.create_task(running.ask(["away"]))]
    await tasks[0]
    await (running.stop_broker() if seconds else running.kill_broker())
    outcomes.append(asyncio.create_task(running.command(killed)))
    answers.append(asyncio.create_task(running.request("beta", "alpha", ["killed"], LIMIT)))
    tasks.append(asyncio.create_task(_taken(running, "killed")))
    if seconds:
        await _passed(seconds)
        await running.start_broker()
    await running.broker_back()
    await running.start("alpha", "worker")
    yield Outage(message, [away, killed], outcomes, answers, tasks)
    await asyncio.gather(*outcomes, *answers, *tasks, return_exceptions=True)


async def _taken(fleet: Fleet, question: str) -> str:
    """The id of a task, which is given again until it is taken: it is not while the state store is away."""
    task_id = new_id()

    async def look() -> str:
        try:
            return await fleet.ask([question], task_id)
        except UnavailableError:
            return ""

    taken: str = await eventually(look, "a task that is taken", LIMIT)
    return taken


async def _passed(seconds: float) -> None:
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    await eventually(lambda: clock() >= until, "the end of the outage", 2 * seconds)


@pytest.mark.restarts_broker
async def test_an_event_outlives_the_broker(fleet: Fleet, outage: Outage, exception: str | None) -> None:
    """An event that waits in the broker is still there when the broker was killed and started again."""
    await _kept(fleet, outage.message, exception)


@pytest.mark.promise("AOS-06")
@pytest.mark.restarts_broker
async def test_a_request_outlives_its_receiver_and_the_broker(outage: Outage) -> None:
    """A request is answered, though its receiver was away, or the broker killed, when it was sent."""
    assert await asyncio.gather(*outage.answers) == [[{"answer": "away"}], [{"answer": "killed"}]]


@pytest.mark.promise("AOS-07")
@pytest.mark.restarts_broker
async def test_a_command_outlives_its_receiver_and_the_broker(fleet: Fleet, outage: Outage) -> None:
    """A command has one effect and its outcome, though its receiver was away or killed, or the broker killed."""
    assert await asyncio.gather(*outage.outcomes) == [1, 1]
    account = event()
    hold = fleet.log.hold(account, step="before")
    outcome = asyncio.create_task(fleet.command(account))
    entry = await hold.entry()
    await fleet.kill(fleet.name_of(entry.replica))
    hold.release()
    assert await outcome == 1
    assert await fleet.effects(*outage.accounts, account) == [1, 1, 1]


@pytest.mark.promise("ARG-05")
@pytest.mark.restarts_broker
async def test_a_task_outlives_its_receiver_and_the_broker(fleet: Fleet, outage: Outage) -> None:
    """A task is answered, though its receiver was away, or the broker killed, when it was given."""
    assert [await fleet.answers(await task) for task in outage.tasks] == [["Done: away"], ["Done: killed"]]


async def _kept(fleet: Fleet, message: Message, exception: str | None) -> None:
    """Assert that an event was kept, or, where the broker cannot, that it is gone although later ones come."""
    if exception is None:
        await fleet.handled(message)
        assert await fleet.effects(message) == [1]
        return
    later = event()
    await fleet.publish(later)
    await fleet.handled(later)
    assert not fleet.log.attempts(message)


@pytest_asyncio.fixture(loop_scope="session")
async def away(fleet: Fleet) -> AsyncIterator[Fleet]:
    """The fleet without its broker."""
    await fleet.stop_broker()
    yield fleet
    await fleet.start_broker()
    await fleet.hearing()


@pytest.mark.restarts_broker
async def test_publishing_without_a_broker_is_an_error(away: Fleet) -> None:
    """Publishing while the broker is away is an error, one by one and as a batch."""
    attempts = (away.publish(event(), batch=batch) for batch in (False, True))
    for outcome in await asyncio.gather(*attempts, return_exceptions=True):
        assert isinstance(outcome, UnavailableError)
    # An app that is gone would be the same error.
    assert await away.call("beta", "healthz", verb="GET") == {"status": "ok"}


@pytest.mark.restarts_broker
async def test_a_broker_killed_under_load_loses_nothing(fleet: Fleet, exception: str | None) -> None:
    """What was published while the broker was killed, and was not refused, is handled, with one effect."""
    messages = [event(number) for number in range(200)]
    taken: list[Message] = []

    async def publish(mine: list[Message]) -> None:
        for message in mine:
            with contextlib.suppress(UnavailableError):
                await fleet.publish(message)
                taken.append(message)

    await publish(messages[:10])
    await fleet.handled(messages[0])
    rest = messages[10:]
    await asyncio.gather(fleet.kill_broker(), *(publish(rest[number::10]) for number in range(10)))
    await fleet.hearing()
    last = event("the last")
    await fleet.publish(last)
    await fleet.handled(last)
    assert taken
    if exception is None:
        await fleet.handled(*taken)
        assert await fleet.effects(*taken) == [1] * len(taken)
    assert set(await fleet.effects(*messages)) <= {0, 1}


@pytest.mark.promise("ARG-18")
async def test_a_thousand_messages_survive_two_kills(fleet: Fleet, exception: str | None) -> None:
    """Of 1,000 messages for three replicas none is lost when an app and a sidecar are killed; effects are once."""
    messages = [event(number) for number in range(LOAD)]
    batches = [messages[start : start + AT_ONCE] for start in range(0, LOAD, AT_ONCE)]
    for number, batch in enumerate(batches):
        await fleet.publish(*batch, batch=True)
        if number == len(batches) // 3:
            await fleet.kill("alpha")
        if number == len(batches) // 2:
            await fleet.kill_sidecar("alpha-2")
    await fleet.ready()
    if exception is None:
        await fleet.handled(*messages)
        assert await fleet.effects(*messages) == [1] * LOAD
        return
    last = event("the last")
    await fleet.publish(last)
    await fleet.handled(last)
    assert set(await fleet.effects(*messages)) <= {0, 1}
