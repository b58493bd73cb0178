"""The roster: which replicas of which app are there, and what of its changes is still to be told."""

from datetime import datetime

from pydantic import BaseModel, JsonValue

from dovecote import Message, MessageType, topics
from dovecote.directory import DIRECTORY, Kind, PresenceState, Registration
from dovecote.ports import ToolSpec


class Entry(BaseModel):
    """An app's row: its presence, the replicas that should hold a lease, and what a tool offers."""

    app_id: str
    kind: Kind
    state: PresenceState
    since: datetime
    replicas: list[str] = []
    tools: list[ToolSpec] = []


class Announcement(BaseModel):
    """A message that is to be published."""

    topic: str
    message: Message


class Roster(BaseModel):
    """All apps that ever were, by app-id.

    A change and the announcement of it are one value, so whoever writes it first is the one who tells; what is
    told leaves `untold`.
    """

    apps: dict[str, Entry] = {}
    untold: list[Announcement] = []

    def join(self, registration: Registration, at: datetime) -> None:
        """A replica has announced itself, for the first time or again."""
        entry = self.apps.get(registration.app_id)
        if entry is None:
            entry = Entry(
                app_id=registration.app_id, kind=registration.kind, state="offline - clean disconnect", since=at
            )
            self.apps[entry.app_id] = entry
        # A service may offer tools for others beside what it is itself.
        if not entry.replicas or registration.kind == "service":
            entry.kind = registration.kind
        if registration.replica not in entry.replicas:
            entry.replicas = sorted([*entry.replicas, registration.replica])
        changed = entry.kind == "tool" and entry.tools != registration.tools
        if changed:
            entry.tools = registration.tools
        self._become(entry, "online", at, offer_changed=changed)

    def leave(self, app_id: str, replica: str, at: datetime) -> None:
        """A replica has left in order."""
        self._lose(app_id, replica, "offline - clean disconnect", at)

    def lapse(self, app_id: str, replica: str, at: datetime) -> None:
        """The lease of a replica has lapsed."""
        self._lose(app_id, replica, "offline - ungraceful disconnect", at)

    @property
    def untold_ids(self) -> set[str]:
        """The ids of the messages that are still to be published."""
        return {one.message.id for one in self.untold}

    def leases(self) -> list[tuple[str, str]]:
        """App-id and replica of all that should hold a lease."""
        return [(entry.app_id, replica) for entry in self.apps.values() for replica in entry.replicas]

    def _lose(self, app_id: str, replica: str, state: PresenceState, at: datetime) -> None:
        entry = self.apps.get(app_id)
        if entry is None or replica not in entry.replicas:
            return
        entry.replicas = [one for one in entry.replicas if one != replica]
        if not entry.replicas:
            self._become(entry, state, at)

    def _become(self, entry: Entry, state: PresenceState, at: datetime, *, offer_changed: bool = False) -> None:
        if state != entry.state:
            entry.state, entry.since = state, at
            self._tell(topics.client_status(entry.app_id), state, at)
            offer_changed = entry.kind == "tool"
            if offer_changed:
                self._tell(topics.tool_status(entry.app_id), {"name": entry.app_id, "state": state}, at)
        if offer_changed:
            offer: list[JsonValue] = [tool.model_dump(mode="json") for tool in entry.tools]
            content: JsonValue = {"name": entry.app_id, "functions": offer}
            self._tell(topics.tool_register(entry.app_id), content if state == "online" else None, at)

    def _tell(self, topic: str, content: JsonValue, at: datetime) -> None:
        message = Message(
            id=f"{topic}.{at.isoformat()}", type=MessageType.STATUS, sender=DIRECTORY, content=content, timestamp=at
        )
        self.untold.append(Announcement(topic=topic, message=message))
