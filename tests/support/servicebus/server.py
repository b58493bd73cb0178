"""The AMQP server: links that senders and receivers attach, what flows over them, and how it is settled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from proton import Condition, Delivery, Endpoint
from proton.reactor import Container

from tests.support.servicebus import filters
from tests.support.servicebus.codec import delivered, posted
from tests.support.servicebus.requests import CBS, MANAGEMENT, answered
from tests.support.servicebus.store import Store

# The Standard tier's limit.
LARGEST: Final = 256 * 1024
_CREDIT = 500
_TICK_SECONDS = 0.25
_SUBSCRIPTIONS = "/Subscriptions/"


@dataclass
class _Receiver:
    """A receiver of an entity, and the session that it has taken if it takes sessions."""

    link: Any
    wants_session: bool
    session: str | None = None

    @property
    def takes(self) -> bool:
        """It is ready for a message."""
        open_ = self.session is not None or not self.wants_session
        return open_ and self.link.credit > 0 and bool(self.link.state & Endpoint.REMOTE_ACTIVE)


class Server:
    """Serves a store at an address, `host:port`, without end; its other methods are proton's events."""

    def __init__(self, store: Store, address: str) -> None:
        self._store = store
        self._address = address
        self._receivers: defaultdict[str, list[_Receiver]] = defaultdict(list)
        self._replies: dict[str, Any] = {}
        self._container = Container(self)

    def run(self) -> None:
        """Serve."""
        self._container.run()

    def on_reactor_init(self, _event: Any) -> None:
        """Listen."""
        self._container.listen(self._address)
        self._container.schedule(_TICK_SECONDS, self)

    def on_timer_task(self, _event: Any) -> None:
        """End the locks that have run out."""
        if self._store.end_locks():
            for entity in list(self._receivers):
                self._serve(entity)
        self._container.schedule(_TICK_SECONDS, self)

    def on_connection_remote_open(self, event: Any) -> None:
        """Let everybody in."""
        event.connection.open()

    def on_session_remote_open(self, event: Any) -> None:
        """Open a session."""
        event.session.open()

    def on_link_remote_open(self, event: Any) -> None:
        """Attach a link: to send to an entity or receive from one, or for requests and their answers."""
        link = event.link
        link.source.copy(link.remote_source)
        link.target.copy(link.remote_target)
        link.snd_settle_mode = link.remote_snd_settle_mode
        link.rcv_settle_mode = link.remote_rcv_settle_mode
        source = link.remote_source.address or ""
        if link.is_receiver:
            link.max_message_size = LARGEST
            link.open()
            link.flow(_CREDIT)
        elif source == CBS or source.endswith(MANAGEMENT):
            self._replies[link.remote_target.address] = link
            link.open()
        else:
            self._attach_receiver(link, source)

    def _attach_receiver(self, link: Any, source: str) -> None:
        topic, found, rest = source.partition(_SUBSCRIPTIONS)
        if not found:
            link.source.address = None
            link.open()
            link.condition = Condition("amqp:not-found", f"{source!r} is no subscription")
            link.close()
            return
        self._store.subscribe(topic, rest.partition("/")[0])
        receiver = _Receiver(link, filters.asks_for_session(link.remote_source))
        self._receivers[source].append(receiver)
        # One that wants a session is let in when there is one.
        if not receiver.wants_session:
            link.open()
        self._serve(source)

    def on_link_flow(self, event: Any) -> None:
        """Send what waits to a receiver that asks for more."""
        if event.link.is_sender:
            self._serve(event.link.source.address)
            event.link.drained()

    def on_delivery(self, event: Any) -> None:
        """Take a message or a request, or settle what a receiver has done with a message."""
        delivery = event.delivery
        if delivery.link.is_sender:
            if delivery.updated:
                self._settle(delivery)
        elif delivery.readable and not delivery.partial:
            self._take(delivery)

    def _take(self, delivery: Any) -> None:
        link = delivery.link
        raw = link.recv(delivery.pending)
        link.advance()
        address = link.remote_target.address
        if address == CBS or address.endswith(MANAGEMENT):
            self._reply(*answered(self._store, address, raw))
            changed = []
        else:
            changed = self._store.publish(address, posted(raw))
        delivery.update(Delivery.ACCEPTED)
        delivery.settle()
        link.flow(1)
        for entity in changed:
            self._serve(entity)

    def _reply(self, to: str, reply: bytes) -> None:
        # Who asked may be gone.
        if to in self._replies:
            _send(self._replies[to], reply).settle()

    def _settle(self, delivery: Any) -> None:
        state = delivery.remote_state
        if self._settled(delivery.tag, state, delivery.remote):
            delivery.update(state)
        else:
            delivery.local.condition = Condition("com.microsoft:message-lock-lost", "the lock is lost")
            delivery.update(Delivery.REJECTED)
        delivery.settle()
        self._serve(delivery.link.source.address)

    def _settled(self, token: str, state: int, remote: Any) -> bool:
        if state == Delivery.ACCEPTED:
            return self._store.complete(token)
        if state == Delivery.MODIFIED:
            return self._store.abandon(token)
        if state == Delivery.REJECTED:
            info = (remote.condition and remote.condition.info) or {}
            reason, description = info.get("DeadLetterReason"), info.get("DeadLetterErrorDescription")
            return self._store.dead_letter(token, str(reason or ""), str(description or ""))
        return self._store.release(token)

    def _serve(self, entity: str) -> None:
        """Hand out what waits, to each receiver in turn."""
        receivers = self._receivers[entity]
        for receiver in receivers:
            if receiver.wants_session and receiver.session is None:
                self._give_session(receiver, entity)
        idle = [receiver for receiver in receivers if receiver.takes]
        while idle:
            receiver = idle.pop(0)
            locked = self._store.take(entity, receiver.session)
            if locked is not None:
                _send(receiver.link, delivered(locked), locked.token)
                receivers.remove(receiver)
                receivers.append(receiver)
                if receiver.takes:
                    idle.append(receiver)
            elif receiver.session is None:
                return

    def _give_session(self, receiver: _Receiver, entity: str) -> None:
        taken = {other.session for other in self._receivers[entity] if other.session is not None}
        receiver.session = self._store.free_session(entity, taken)
        if receiver.session is not None:
            filters.tell_session(receiver.link.source, receiver.session)
            receiver.link.open()

    def on_link_remote_close(self, event: Any) -> None:
        """Close a link; messages that are locked over it stay so until their time is over."""
        link = event.link
        link.close()
        self._forget(lambda other: other == link)

    def on_link_remote_detach(self, event: Any) -> None:
        """Detach a link, which is as good as closed: nobody comes back to it."""
        self.on_link_remote_close(event)

    def on_session_remote_close(self, event: Any) -> None:
        """Close a session, and the links on it."""
        session = event.session
        session.close()
        self._forget(lambda link: link.session == session)

    def on_connection_remote_close(self, event: Any) -> None:
        """Close a connection, and the links on it."""
        connection = event.connection
        connection.close()
        self._forget(lambda link: link.connection == connection)

    def on_transport_closed(self, event: Any) -> None:
        """Forget the links of a connection that is lost."""
        connection = event.connection
        self._forget(lambda link: link.connection == connection)

    def _forget(self, gone: Callable[[Any], bool]) -> None:
        self._replies = {to: link for to, link in self._replies.items() if not gone(link)}
        for entity, receivers in list(self._receivers.items()):
            left = [receiver for receiver in receivers if gone(receiver.link)]
            self._receivers[entity] = [receiver for receiver in receivers if receiver not in left]
            for session in [receiver.session for receiver in left if receiver.session is not None]:
                self._store.end_session(entity, session)
                self._serve(entity)


def _send(link: Any, data: bytes, tag: str | None = None) -> Any:
    delivery = link.delivery(tag or link.delivery_tag())
    link.stream(data)
    link.advance()
    return delivery
