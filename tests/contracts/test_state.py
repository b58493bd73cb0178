"""What every state store does."""

import asyncio
from typing import Any

import pytest

from dovecote import Write
from dovecote.errors import ConflictError
from dovecote.messages import new_id
from tests.contracts.conftest import Kit
from tests.support.eventually import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


async def test_a_missing_key_is_none(kit: Kit) -> None:
    assert await kit.alpha.ports.state.get(new_id()) is None


@pytest.mark.parametrize(
    "value", ["text", "", "17", '{"a": 1}', 0, 17, -2.5, True, False, [], {}, {"a": [1, None, {"ü": "\U0001f600"}]}]
)
async def test_a_value_is_read_as_it_was_written(kit: Kit, value: Any) -> None:
    state, key = kit.alpha.ports.state, f"a:{new_id()}"
    await state.write(Write(key, value))
    item = await state.get(key)
    assert item is not None
    assert (type(item.value), item.value) == (type(value), value)


@pytest.mark.parametrize("key", ["with space", "ünï", "a/b", "a:b:c", "a%2Fb?c=d", 'quote"s'])
async def test_any_text_is_a_key(kit: Kit, key: str) -> None:
    state = kit.alpha.ports.state
    await state.write(Write(key, key))
    item = await state.get(key)
    assert item is not None
    assert item.value == key
    await state.delete(key)
    assert await state.get(key) is None


async def test_many_keys_are_read_at_once_and_missing_ones_left_out(kit: Kit) -> None:
    state, keys = kit.alpha.ports.state, [new_id() for _ in range(5)]
    await state.write(*(Write(key, number) for number, key in enumerate(keys[:3])))
    items = await state.get_many(keys)
    assert {key: item.value for key, item in items.items()} == {keys[0]: 0, keys[1]: 1, keys[2]: 2}
    assert await state.get_many([]) == {}


async def test_a_created_key_is_not_created_again(kit: Kit) -> None:
    state, key = kit.alpha.ports.state, new_id()
    await state.write(Write(key, 1, create=True))
    with pytest.raises(ConflictError, match=key):
        await state.write(Write(key, 2, create=True))
    item = await state.get(key)
    assert item is not None
    assert item.value == 1


async def test_of_many_creators_at_once_one_wins(kit: Kit) -> None:
    state, key = kit.alpha.ports.state, new_id()
    outcomes = await asyncio.gather(
        *(state.write(Write(key, number, create=True)) for number in range(12)), return_exceptions=True
    )
    winners = [number for number, failed in enumerate(outcomes) if failed is None]
    assert len(winners) == 1
    assert all(isinstance(failed, ConflictError) for failed in outcomes if failed is not None), outcomes
    item = await state.get(key)
    assert item is not None
    assert item.value == winners[0]


async def test_an_etag_holds_until_somebody_writes(kit: Kit) -> None:
    state, key = kit.alpha.ports.state, new_id()
    await state.write(Write(key, 1, create=True))
    old = await state.get(key)
    assert old is not None
    await state.write(Write(key, 2, etag=old.etag))
    with pytest.raises(ConflictError, match=key):
        await state.write(Write(key, 3, etag=old.etag))
    new = await state.get(key)
    assert new is not None
    assert new.value == 2
    assert new.etag != old.etag


async def test_counting_at_once_by_etag_loses_nothing(kit: Kit) -> None:
    state, key = kit.alpha.ports.state, new_id()

    async def count() -> None:
        while True:
            item = await state.get(key)
            value = item.value + 1 if item else 1
            try:
                await state.write(Write(key, value, etag=item.etag if item else None, create=item is None))
            except ConflictError:
                continue
            return

    await asyncio.gather(*(count() for _ in range(10)))
    item = await state.get(key)
    assert item is not None
    assert item.value == 10


@pytest.mark.parametrize("condition", [{"create": True}, {"etag": "1"}])
@pytest.mark.parametrize("place", [0, 1])
async def test_a_condition_among_several_writes_is_refused(kit: Kit, condition: dict[str, Any], place: int) -> None:
    state, one, two = kit.alpha.ports.state, new_id(), new_id()
    writes = [Write(one, 1)]
    writes.insert(place, Write(two, 2, **condition))
    with pytest.raises(ValueError, match="goes alone"):
        await state.write(*writes)
    assert await state.get_many([one, two]) == {}


async def test_a_transaction_writes_several_keys(kit: Kit) -> None:
    state, one, two = kit.alpha.ports.state, new_id(), new_id()
    await state.write(Write(one, 1, ttl=3600), Write(two, 2))
    found = await state.get_many([one, two])
    assert {key: item.value for key, item in found.items()} == {one: 1, two: 2}


async def test_a_value_with_a_time_to_live_goes_away(kit: Kit) -> None:
    state, key = kit.alpha.ports.state, new_id()
    await state.write(Write(key, 1, create=True, ttl=1))
    assert await state.get(key) is not None

    async def gone() -> bool:
        return await state.get(key) is None

    await eventually(gone, "the value gone")
    await state.write(Write(key, 2, create=True))


async def test_a_time_to_live_is_ended_by_a_write_for_good(kit: Kit) -> None:
    state, kept, passing = kit.alpha.ports.state, new_id(), new_id()
    await state.write(Write(kept, 1, create=True, ttl=1))
    item = await state.get(kept)
    assert item is not None
    await state.write(Write(kept, 2, etag=item.etag, ttl=0))
    await state.write(Write(passing, 1, create=True, ttl=2))

    async def gone() -> bool:
        return await state.get(passing) is None

    await eventually(gone, "the other value gone")
    item = await state.get(kept)
    assert item is not None
    assert item.value == 2


async def test_a_deleted_key_is_gone_and_may_be_deleted_again(kit: Kit) -> None:
    state, key = kit.alpha.ports.state, new_id()
    await state.write(Write(key, 1))
    await state.delete(key)
    await state.delete(key)
    assert await state.get(key) is None
    await state.write(Write(key, 2, create=True))


async def test_an_app_does_not_see_the_keys_of_another_and_replicas_share_theirs(kit: Kit) -> None:
    key = new_id()
    await kit.beta.ports.state.write(Write(key, 1))
    assert await kit.alpha.ports.state.get(key) is None
    item = await kit.twin.ports.state.get(key)
    assert item is not None
    assert item.value == 1
