"""A client of Service Bus on a library for AMQP 1.0 alone, run by the Python that has it: `interpreter`.

`publish URL TOPIC` sends what it reads. `listen URL TOPIC/Subscriptions/NAME` writes a line when it listens, then
each message, as a text in JSON.
"""

import json
import sys

from proton import Message, Timeout
from proton.utils import BlockingConnection

_LIMIT = 20.0
_CREDIT = 100


def publish(connection: BlockingConnection, topic: str) -> None:
    """Send one message, of one section of data, and wait until it is accepted."""
    connection.create_sender(topic).send(Message(body=sys.stdin.buffer.read(), inferred=True))


def listen(connection: BlockingConnection, source: str) -> None:
    """Accept messages without end."""
    receiver = connection.create_receiver(source, credit=_CREDIT)
    _say("listening")
    while True:
        try:
            message = receiver.receive(timeout=_LIMIT)
        except Timeout:
            continue
        receiver.accept()
        _say(bytes(message.body).decode())


def _say(text: str) -> None:
    sys.stdout.write(json.dumps(text) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    verb, url, address = sys.argv[1:]
    {"publish": publish, "listen": listen}[verb](
        BlockingConnection(url, timeout=_LIMIT, allowed_mechs="ANONYMOUS"), address
    )
