"""What every cryptography component and every secret store do for messages."""

import base64
from typing import Any

import pytest
from pydantic_core import from_json

from dovecote import Message, Reject
from dovecote.errors import InvalidInputError, UnverifiedError
from dovecote.ports import Subscription
from dovecote.settings import Settings
from dovecote.testing import MEMORY
from tests.contracts.conftest import Kit
from tests.support.eventually import eventually
from tests.support.messages import full_message
from tests.support.probe import NEWS

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]
CLOUD_EVENT = "application/cloudevents+json"


async def _ignore(_: Message) -> None:
    """What it is given is looked at on the way."""


SUBSCRIPTION = Subscription(NEWS, _ignore)


async def _encoded(kit: Kit, message: Message, **settings: Any) -> dict[str, Any]:
    codec = kit.codec(message.sender, Settings(**settings))
    assert await codec.missing() == []
    event: dict[str, Any] = from_json(await codec.encode(MEMORY, NEWS, message))
    return event


@pytest.mark.parametrize("key_id", ["old", "new"])
@pytest.mark.promise("AOS-16")
async def test_what_was_encrypted_with_any_key_of_the_component_is_handled_as_it_was_sent(
    kit: Kit, key_id: str
) -> None:
    message = full_message(sender="beta")
    event = await _encoded(kit, message, encryption_key=key_id)
    assert "data" not in event
    await kit.publish_foreign(NEWS, event, CLOUD_EVENT)
    (seen,) = await eventually(lambda: kit.alpha.seen[message.id], "the message")
    assert seen == message


async def test_a_large_document_is_encrypted_and_decrypted_whole(kit: Kit) -> None:
    message = full_message(sender="beta", content="".join(f"{line:015}\n" for line in range(200_000)))
    event = await _encoded(kit, message, encryption_key="new")
    assert await kit.codec("alpha", Settings()).decode(SUBSCRIPTION, event) == message


async def test_what_was_encrypted_and_then_altered_is_a_dead_letter_with_its_reason(kit: Kit) -> None:
    message = full_message(sender="beta")
    event = await _encoded(kit, message, encryption_key="new")
    body = bytearray(base64.b64decode(event["data_base64"]))
    body[-1] ^= 1
    await kit.publish_foreign(NEWS, event | {"data_base64": base64.b64encode(body).decode()}, CLOUD_EVENT)
    reasons = await eventually(lambda: kit.alpha.reasons[message.id], "the reason")
    assert "cannot be decrypted with key 'new'" in reasons[0]["reason"]
    assert not kit.alpha.seen[message.id]


async def test_a_key_that_the_component_does_not_have_is_missing(kit: Kit) -> None:
    codec = kit.codec("beta", Settings(encryption_key="none"))
    assert ["nothing can be encrypted with key 'none'" in text for text in await codec.missing()] == [True]


async def test_a_signature_holds_over_the_broker_and_what_is_altered_does_not(kit: Kit) -> None:
    message = full_message(sender="beta")
    event = await _encoded(kit, message, signatures="sign")

    def refuse(_: Message) -> None:
        raise Reject("to see it as it came")

    kit.alpha.does[message.id] = refuse
    await kit.publish_foreign(NEWS, event, CLOUD_EVENT)
    (dead, *_) = await eventually(lambda: kit.alpha.dead[message.id], "the dead letter")
    verifying = kit.codec("alpha", Settings(signatures="require"))
    assert await verifying.missing() == []
    assert await verifying.reopen(dead) == message
    with pytest.raises(UnverifiedError, match="altered"):
        await verifying.reopen(dead.model_copy(update={"content": "another"}))


async def test_a_key_of_signatures_that_the_store_does_not_have_is_missing(kit: Kit) -> None:
    codec = kit.codec("nobody", Settings(signatures="sign"))
    assert ["'SIGNING_KEY_NOBODY'" in text for text in await codec.missing()] == [True]
    with pytest.raises(InvalidInputError, match="cannot sign for another"):
        await kit.codec("beta", Settings(signatures="sign")).encode(MEMORY, NEWS, full_message())
