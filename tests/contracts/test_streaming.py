"""What every stream of events does, whichever broker brings them to the recorder."""

import asyncio
from contextlib import aclosing

import pytest

from dovecote import topics
from dovecote.messages import new_id
from tests.contracts.conftest import Kit
from tests.support.eventually import eventually
from tests.support.probe import Probe

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


async def _tell(kit: Kit, kind: str, numbers: range) -> None:
    for number in numbers:
        await kit.alpha.app.bus.publish(topics.EVENTS, {"event": kind, "number": number})
    await kit.alpha.app.bus.publish(topics.EVENTS, {"event": "noise"})


async def _read(replica: Probe, kind: str, count: int) -> list[object]:
    numbers: list[object] = []
    async with aclosing(aiter(replica.app.bus.stream([kind], cursor=kind, start="beginning"))) as events:
        async with asyncio.timeout(30):
            async for event in events:
                assert isinstance(event.content, dict)
                numbers.append(event.content["number"])
                if len(numbers) == count:
                    break
    return numbers


async def test_a_consumer_that_was_away_goes_on_where_it_was_at_any_replica(kit: Kit) -> None:
    kind = f"bill_paid_{new_id()}"
    await _tell(kit, kind, range(10))
    first = await _read(kit.beta, kind, 10)
    await _tell(kit, kind, range(10, 20))
    # The last one was never asked past, so it comes again.
    rest = await _read(kit.twin, kind, 11)
    assert (sorted(map(str, first)), rest[0]) == (sorted(map(str, range(10))), first[-1])
    assert sorted(map(str, rest[1:])) == sorted(map(str, range(10, 20)))


async def test_who_waits_is_told_what_is_broadcast(kit: Kit) -> None:
    kind = f"report_ready_{new_id()}"
    cursor = f"cursor:{kind}"
    reading = asyncio.create_task(_read(kit.beta, kind, 1))

    async def waits() -> bool:
        return await kit.beta.ports.state.get(cursor) is not None

    await eventually(waits, "the cursor")
    await kit.alpha.app.bus.broadcast({"event": kind, "number": 7})
    assert await reading == [7]
