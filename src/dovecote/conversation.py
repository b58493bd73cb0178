"""Conversations: who said what to whom, in one order, kept in the state of the app that keeps them.

Replicas of an app share its conversations; other apps do not see them. Source: section 3.3 of the document on the
Agent Operating System's messaging, whose names the methods have.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Final, Literal
from weakref import WeakValueDictionary

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from dovecote.appendlog import AppendLog, Entry, Head, Info
from dovecote.errors import ConversationEndedError, InvalidInputError
from dovecote.messages import Message, MessageType, new_id, now
from dovecote.ports import State
from dovecote.prompts import prompt

CountTokens = Callable[[str], int]

_BYTES_PER_TOKEN: Final = 3
_TOKENS_PER_MESSAGE: Final = 4
# What every message of a conversation has in common is kept once.
_COMMON: Final = {"conversation_id"}


def estimated_tokens(text: str) -> int:
    """About how many tokens a text is for a model: one for every three bytes of UTF-8, rounded up.

    An estimate without any model's vocabulary. English text is some four bytes a token, code and other scripts some
    three, so it errs to the side of too many, and a window that is filled by it fits.
    """
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)


class Spoken(BaseModel):
    """A message of a conversation, and its position in it: 0 for the first."""

    model_config = ConfigDict(frozen=True)

    position: int
    message: Message


class Details(BaseModel):
    """What a conversation is about, and whether it goes on.

    `participants` are those named at the start and whoever has spoken. `parent` is the conversation that it was
    branched from, and the position from which the two differ.
    """

    model_config = ConfigDict(frozen=True)

    topic: str = ""
    participants: list[str] = []
    metadata: dict[str, JsonValue] = {}
    started: datetime = Field(default_factory=now)
    ended: datetime | None = None
    parent: tuple[str, int] | None = None

    @property
    def state(self) -> Literal["active", "ended"]:
        """Whether it takes messages."""
        return "ended" if self.ended else "active"


class Context(BaseModel):
    """The newest messages that fit a window, in the order in which they were said; `omitted` are older.

    `tokens` is what they were counted as.
    """

    model_config = ConfigDict(frozen=True)

    conversation_id: str
    details: Details
    messages: list[Message]
    tokens: int
    omitted: int


class Conversation:
    """One conversation, by its id; `Conversations` makes them."""

    def __init__(self, conversation_id: str, log: AppendLog, among: "Conversations") -> None:
        self.id = conversation_id
        self._log = log
        self._among = among

    async def details(self) -> Details:
        """What it is about, and whether it goes on; NotFoundError if there is no such conversation."""
        return _details((await self._log.head()).info)

    async def add(self, message: Message) -> int:
        """Add a message; its position, that of the first one if a message of that id is there already.

        So whoever does not know whether a message was added adds it again. Raises ConversationEndedError once it
        has ended, UnavailableError where others write without a pause for half a minute.
        """

        def admit(info: Info) -> Info:
            details = _details(info)
            if details.ended:
                raise ConversationEndedError(
                    f"conversation {self.id!r} ended at {details.ended.isoformat()}: it takes no message any more",
                    mend="start another one, or branch it: branch(position)",
                )
            participants = list(dict.fromkeys([*details.participants, message.sender]))
            return details.model_copy(update={"participants": participants}).model_dump(mode="json")

        entry: Entry = message.model_dump(mode="json", exclude_defaults=True, exclude=_COMMON)
        return await self._log.append(message.id, entry, admit)

    async def add_message(
        self,
        sender: str,
        content: JsonValue,
        message_type: MessageType = MessageType.NOTIFICATION,
        *,
        message_id: str | None = None,
        recipient: str | None = None,
    ) -> Spoken:
        """Add what somebody says; errors as in `add`. With `message_id` it may be said again, and counts once."""
        message = Message(
            id=message_id or new_id(),
            type=message_type,
            sender=sender,
            recipient=recipient,
            content=content,
            conversation_id=self.id,
        )
        return Spoken(position=await self.add(message), message=message)

    async def replay(self, start: int = 0) -> AsyncIterator[Spoken]:
        """All that was said from a position on, in order, up to what is the last message now."""
        async for chunk in self._log.forwards(start):
            for position, entry in enumerate(chunk.entries, chunk.first):
                yield Spoken(position=position, message=self._message(entry))

    async def history(self, start: int = 0, limit: int | None = None) -> list[Spoken]:
        """The messages from a position on, in order, at most `limit`; `replay` holds fewer at once."""
        found: list[Spoken] = []
        if limit is not None and limit <= 0:
            return found
        async for spoken in self.replay(start):
            found.append(spoken)
            if len(found) == limit:
                break
        return found

    async def get_context(
        self,
        max_messages: int | None = None,
        max_tokens: int | None = None,
        count_tokens: CountTokens = estimated_tokens,
    ) -> Context:
        """The newest messages, at most so many and of at most so many tokens, and what the conversation is about.

        A message counts with its sender and content as text, and four tokens for its frame. Messages are whole: if
        the newest alone is over `max_tokens`, none is there, and `omitted` says so.
        """
        if max_messages is None and max_tokens is None:
            raise InvalidInputError("a context needs a limit", mend="give max_messages, max_tokens, or both")
        head = await self._log.head()
        chosen: list[Message] = []
        tokens = 0
        wanted = head.end if max_messages is None else min(max_messages, head.end)
        newest = self._backwards(head)
        while len(chosen) < wanted:
            message = await anext(newest)
            cost = count_tokens(f"{message.sender}: {prompt(message.content)}") + _TOKENS_PER_MESSAGE
            if max_tokens is not None and tokens + cost > max_tokens:
                break
            chosen.append(message)
            tokens += cost
        return Context(
            conversation_id=self.id,
            details=_details(head.info),
            messages=chosen[::-1],
            tokens=tokens,
            omitted=head.end - len(chosen),
        )

    async def end(self) -> Details:
        """End it: it takes no message any more, and can still be read. One that has ended stays as it is."""
        ended = now()

        def with_end(info: Info) -> Info:
            details = _details(info)
            return details.model_copy(update={"ended": details.ended or ended}).model_dump(mode="json")

        return _details(await self._log.amend(with_end))

    async def branch(self, position: int, *, branch_id: str | None = None) -> "Conversation":
        """A conversation of its own, with the same participants, that begins with what was said before a position.

        What they have in common is not copied, but for a part of a chunk, and neither sees what the other adds. One
        that has ended can be branched. InvalidInputError for a position that is not in it.
        """
        head = await self._log.branch(position)
        details = _details(head.info).model_copy(
            update={"started": now(), "ended": None, "parent": (self.id, position)}
        )
        return await self._among.create(details, head, branch_id)

    async def _backwards(self, head: Head) -> AsyncIterator[Message]:
        async for chunk in self._log.backwards(head):
            for entry in reversed(chunk.entries):
                yield self._message(entry)

    def _message(self, entry: Entry) -> Message:
        return Message.model_validate({**entry, "conversation_id": self.id})


class Conversations:
    """The conversations of an app, which its replicas share."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._locks = WeakValueDictionary[str, asyncio.Lock]()

    async def start(
        self,
        participants: Sequence[str] = (),
        topic: str = "",
        metadata: dict[str, JsonValue] | None = None,
        *,
        conversation_id: str | None = None,
    ) -> Conversation:
        """Start a conversation; one of that id that is there already is returned as it is."""
        details = Details(topic=topic, participants=[*participants], metadata=metadata or {})
        return await self.create(details, Head(), conversation_id)

    def open(self, conversation_id: str) -> Conversation:
        """The conversation of that id; its methods raise NotFoundError if there is none."""
        return Conversation(conversation_id, self._log(conversation_id), self)

    async def create(self, details: Details, head: Head, conversation_id: str | None = None) -> Conversation:
        """Keep a conversation that begins with a head, unless there is one of that id."""
        conversation = self.open(conversation_id or new_id())
        begun = head.model_copy(update={"info": details.model_dump(mode="json")})
        await self._log(conversation.id).create(begun)
        return conversation

    def _log(self, conversation_id: str) -> AppendLog:
        lock = self._locks.setdefault(conversation_id, asyncio.Lock())
        return AppendLog(self._state, f"conversation:{conversation_id}", lock)


def _details(info: Info) -> Details:
    return Details.model_validate(info)
