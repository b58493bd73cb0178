"""What is too large for the broker, through apps and the recorder."""

from typing import Any

from dovecote import App, Message, MessageType, Reject
from dovecote.settings import Settings
from dovecote.testing import MEMORY, Network
from services.recorder.main import app as recorder

TOPIC = "test/documents"
DOCUMENT = "x" * (MEMORY.max_message_bytes + 1)


async def test_a_document_that_was_refused_is_handled_whole_when_it_is_resubmitted() -> None:
    clerk, handled, refusing = App("clerk"), list[Message](), True

    @clerk.subscribe(TOPIC)
    async def take(message: Message) -> None:
        if refusing:
            raise Reject("not now")
        handled.append(message)

    message = Message(type=MessageType.EVENT, sender="clerk", content=DOCUMENT)
    async with Network([recorder, clerk], settings=Settings()) as net:
        await clerk.running.ports.bus.publish(TOPIC, message)
        await net.bus.settled()
        letter: Any = await net.invoke("recorder", f"deadletters/{message.id}", verb="GET")
        assert letter["message"]["content"] is None
        assert max(len(str(row)) for row in net.state("recorder").values().values()) < 100_000
        refusing = False
        await net.invoke("recorder", "deadletters/resubmit", {"id": message.id})
    assert handled == [message]
