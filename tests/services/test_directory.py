"""The directory: leases of who runs."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dovecote import Agent, Tools
from dovecote.directory import Directory, Registration
from dovecote.errors import AgentUnavailableError, InvalidInputError
from dovecote.testing import Network
from services.directory.main import app as directory

pytestmark = pytest.mark.asyncio(loop_scope="session")
shelf = Tools("shelf", capabilities=["search"])


@shelf.tool
def find(query: str) -> str:
    """Find."""
    return query


@pytest_asyncio.fixture(loop_scope="session")
async def net() -> AsyncIterator[Network]:
    async with Network([directory]) as network:
        yield network


def _lease(app_id: str, replica: str = "1", seconds: float = 15, **fields: object) -> Registration:
    row = {"app_id": app_id, "replica": replica, "kind": "agent", "capabilities": [app_id], "lease": seconds}
    return Registration.model_validate(row | fields)


async def _running(net: Network) -> list[tuple[str, str]]:
    rows = await Directory(net.invoke).running()
    return [(row.app_id, row.replica) for row in rows if row.kind != "service"]


async def test_replicas_are_listed_by_name_while_their_leases_hold(net: Network) -> None:
    client = Directory(net.invoke)
    for lease in (_lease("writer", "2"), _lease("writer", "1"), _lease("critic", seconds=60)):
        await client.register(lease)
    assert await _running(net) == [("critic", "1"), ("writer", "1"), ("writer", "2")]
    net.clock.advance(16)
    assert await _running(net) == [("critic", "1")]


async def test_a_renewed_lease_holds_on(net: Network) -> None:
    client = Directory(net.invoke)
    for _ in range(4):
        await client.register(_lease("writer"))
        net.clock.advance(10)
    assert await _running(net) == [("writer", "1")]


async def test_a_lapsed_replica_that_comes_back_is_listed_again(net: Network) -> None:
    client = Directory(net.invoke)
    await client.register(_lease("writer"))
    net.clock.advance(16)
    assert await _running(net) == []
    await client.register(_lease("writer"))
    assert await _running(net) == [("writer", "1")]


async def test_who_leaves_is_gone_at_once(net: Network) -> None:
    client = Directory(net.invoke)
    await client.register(_lease("writer"))
    await client.leave(_lease("writer"))
    await client.leave(_lease("writer"))
    assert await _running(net) == []


async def test_many_that_come_at_once_are_all_listed(net: Network) -> None:
    client = Directory(net.invoke)
    await asyncio.gather(*(client.register(_lease(f"app{number}")) for number in range(20)))
    assert len(await _running(net)) == 20


async def test_an_app_is_found_by_its_name_before_its_capabilities(net: Network) -> None:
    client = Directory(net.invoke)
    await client.register(_lease("a", capabilities=["a", "write"]))
    await client.register(_lease("write"))
    assert (await client.find(["write"], "agent"))[0].app_id == "write"
    assert (await client.find(["a"], "agent"))[0].app_id == "a"


async def test_who_is_not_found_is_named_with_those_that_run(net: Network) -> None:
    client = Directory(net.invoke)
    with pytest.raises(AgentUnavailableError, match="no running tool is called 'shelf'") as caught:
        await client.find(["shelf"], "tool")
    assert caught.value.mend == "start it; running now: none"
    await client.register(_lease("shelf"))
    with pytest.raises(AgentUnavailableError):
        await client.find(["shelf"], "tool")


async def test_a_registration_that_does_not_fit_is_refused(net: Network) -> None:
    with pytest.raises(InvalidInputError, match=r"body\.kind"):
        await net.invoke(
            "directory", "registrations", {"app_id": "a", "replica": "1", "lease": 1, "capabilities": []}
        )


async def test_apps_announce_themselves_with_what_they_can_do_and_leave_at_their_stop() -> None:
    clerk = Agent("clerk", instructions="", capabilities=["answer"])
    async with Network([shelf, clerk, directory]) as net:
        rows = [row for row in await Directory(net.invoke).running() if row.app_id != "directory"]
        assert [(row.app_id, row.kind, row.capabilities) for row in rows] == [
            ("clerk", "agent", ["clerk", "answer"]),
            ("shelf", "tool", ["shelf", "search"]),
        ]
        assert [tool.name for tool in rows[1].tools] == ["find"]
        assert rows[1].description == "The directory: leases of who runs."
        await net.advance(3600)
        assert len(await Directory(net.invoke).running()) == 3
        await net.stop("clerk")
        assert [name for name, _ in await _running(net)] == ["shelf"]


async def test_an_app_that_lives_longer_than_the_directory_is_back_after_its_restart() -> None:
    clerk = Agent("clerk", instructions="")
    async with Network([directory, clerk]) as net:
        await net.stop("directory")
        await net.start("directory")
        assert [name for name, _ in await _running(net)] == ["clerk"]
