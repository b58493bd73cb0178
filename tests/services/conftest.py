"""What several tests of services have."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.office import Office


@pytest_asyncio.fixture(loop_scope="session")
async def office() -> AsyncIterator[Office]:
    made = Office()
    async with made.net:
        yield made
