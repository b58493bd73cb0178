"""The fleet: the suite's apps running over one transport, and what a test can do to them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from pydantic import JsonValue

from dovecote import Message, MessageType
from dovecote.errors import DovecoteError, NotFoundError, UnavailableError
from dovecote.results import TaskResult
from dovecote.topics import Capabilities
from tests.conformance.apps.receiver import HEAP, LOCAL_NEWS, NEWS, TROUBLE, account_of
from tests.conformance.logbook import Logbook
from tests.support.eventually import eventually

LIMIT: Final = 240.0
"""Seconds within which what must come has come: a broker may need 70 for each consumer that hangs."""
MODEL_SECONDS: Final = 0.5
"""How long the worker's model takes, so that tasks are under way when something is killed."""
REPLICAS: Final = {"alpha": 3, "beta": 1, "lead": 1, "worker": 2, "directory": 1, "recorder": 1}
"""The apps: alpha competes with itself, beta also publishes, lead asks worker."""


def names(app: str) -> list[str]:
    """The names of an app's replicas."""
    return [app, *(f"{app}-{number}" for number in range(2, REPLICAS[app] + 1))]


class Fleet(ABC):
    """Apps that run over one transport. What a method stops comes back when a test asks for it, or by itself."""

    def __init__(self, broker: Capabilities) -> None:
        self.broker = broker
        self.log = Logbook()

    @abstractmethod
    async def call(self, app: str, path: str, body: JsonValue = None, verb: str = "POST") -> Any:
        """What an app answers to a request, as its users send it; the error that it names otherwise."""

    @abstractmethod
    async def publish_event(self, event: Mapping[str, Any], topic: str = NEWS) -> None:
        """Publish a CloudEvents event as a client without Dovecote does."""

    @abstractmethod
    def name_of(self, replica: str) -> str:
        """The name of a replica that wrote into the logbook."""

    @abstractmethod
    async def kill(self, replica: str) -> None:
        """Kill the process of a replica as a crash would; it is started again."""

    @abstractmethod
    async def kill_sidecar(self, replica: str) -> None:
        """Kill the sidecar of a replica as a crash would; it is started again."""

    @abstractmethod
    async def stop(self, *apps: str) -> None:
        """End all replicas of some apps, with their sidecars."""

    @abstractmethod
    async def start(self, *apps: str) -> None:
        """Start all replicas of all apps that were stopped."""

    @abstractmethod
    async def stop_broker(self) -> None:
        """Take the broker away."""

    @abstractmethod
    async def start_broker(self) -> None:
        """Bring the broker back, with what it keeps."""

    @abstractmethod
    async def kill_broker(self) -> None:
        """Kill the broker as a crash would; it is started again."""

    @abstractmethod
    async def ready(self) -> None:
        """Return when every app says that it takes work."""

    async def publish(self, *messages: Message, topic: str = NEWS, batch: bool = False, document: int = 0) -> None:
        """Publish from beta, one by one or as a batch; with the content of a document of so many bytes, if any."""
        rows: list[JsonValue] = [message.model_dump(mode="json") for message in messages]
        what: JsonValue = {"topic": topic, "messages": rows, "batch": batch, "document": document}
        await self.call("beta", "publish", what)

    async def settled(self) -> None:
        """Return when replicas share the messages of each topic, which some brokers arrange only after a while."""
        await self.ready()
        for topic in (NEWS, LOCAL_NEWS, HEAP, TROUBLE):
            await eventually(partial(self._shared, topic), f"messages that are shared on {topic!r}", 120)

    async def _shared(self, topic: str) -> bool:
        """Whether each of some messages came to one replica of alpha, and some to each of them."""
        messages = [Message(type=MessageType.EVENT, sender="tests", content="settle") for _ in range(60)]
        try:
            await self.publish(*messages, topic=topic)
        except UnavailableError:
            return False  # a broker may still be making the topic
        for app in ("alpha", "beta"):
            await self.handled(*messages, app=app)
        attempts = [self.log.attempts(message) for message in messages]
        replicas = {entry.replica for entries in attempts for entry in entries}
        return len(replicas) == REPLICAS["alpha"] and all(len(entries) == 1 for entries in attempts)

    async def broker_back(self) -> None:
        """Return when a broker that was away takes messages again."""

        async def look() -> bool:
            try:
                await self.publish(Message(type=MessageType.EVENT, sender="tests", content="back?"))
            except UnavailableError:
                return False
            return True

        await eventually(look, "a broker that takes messages", 120)

    async def hearing(self) -> None:
        """Return when events reach both apps again, which may be after a broker takes them, and keeps none."""
        await self.ready()
        probes: list[Message] = []

        async def look() -> bool:
            probe = Message(type=MessageType.EVENT, sender="tests", content="who hears?")
            try:
                await self.publish(probe)
            except UnavailableError:
                return False
            probes.append(probe)
            return all(any(self.log.handled(one, app) for one in probes) for app in ("alpha", "beta"))

        await eventually(look, "apps that hear events", 120)

    async def effects(self, *messages: Message, app: str = "alpha") -> list[int]:
        """How often the effect of each message took place at an app."""
        accounts = [account_of(message) for message in messages]
        counts: Mapping[str, int] = await self.call(app, "effects", [*accounts])
        return [counts[account] for account in accounts]

    async def handled(self, *messages: Message, app: str = "alpha") -> None:
        """Return when an app has handled all messages."""
        await eventually(
            lambda: all(self.log.handled(message, app) for message in messages),
            f"all of {len(messages)} messages at {app}",
            LIMIT,
        )

    async def again(self, message: Message, attempts: int, app: str = "alpha") -> None:
        """Return when an app has had the effect of a message in so many attempts."""
        await eventually(
            lambda: len(self.log.handled(message, app)) >= attempts, f"{attempts} attempts at {message.id!r}", LIMIT
        )

    async def dead_letter(self, message: Message, reasons: int = 1) -> dict[str, Any]:
        """What the recorder has of a message that was given up, with so many reasons at least."""

        async def look() -> Any:
            letter = await self._letter(message)
            return letter if letter["message"] and len(letter["reasons"]) >= reasons else None

        found: dict[str, Any] = await eventually(look, f"the dead letter {message.id!r} with its reason", LIMIT)
        return found

    async def resubmit(self, message: Message, app: str) -> dict[str, Any]:
        """Hand a dead letter to an app again; how it stands then."""
        row: dict[str, Any] = await self.call(
            "recorder", "deadletters/resubmit", {"id": message.id, "consumer": app}
        )
        return row

    async def reasons(self, message: Message, count: int) -> list[dict[str, Any]]:
        """What the recorder has of so many failures of what has a message's id."""

        async def look() -> Any:
            reasons = (await self._letter(message))["reasons"]
            return reasons if len(reasons) >= count else None

        found: list[dict[str, Any]] = await eventually(look, f"{count} reasons of {message.id!r}", LIMIT)
        return found

    async def _letter(self, message: Message) -> dict[str, Any]:
        try:
            letter: dict[str, Any] = await self.call("recorder", f"deadletters/{message.id}", verb="GET")
        except (NotFoundError, UnavailableError):
            return {"message": None, "reasons": []}
        return letter

    async def command(self, account: Message, seconds: float = LIMIT) -> JsonValue:
        """The outcome of a command of beta to alpha, to count what has the id of a message: how many there are."""
        what: JsonValue = {
            "recipient": "alpha",
            "command": "count",
            "parameters": {"account": account.id},
            "key": account.id,
            "seconds": seconds,
        }
        outcome: JsonValue = await self.call("beta", "commands", what)
        return outcome

    async def request(
        self, asker: str, recipient: str, contents: Sequence[JsonValue], seconds: float = 60
    ) -> list[JsonValue]:
        """The answers to requests of a replica to an app, one for each content, all at once."""
        what: JsonValue = {"recipient": recipient, "contents": [*contents], "seconds": seconds}
        answers: list[JsonValue] = await self.call(asker, "requests", what)
        return answers

    async def ask(self, questions: Sequence[str], task_id: str = "") -> str:
        """Give the lead a task, of that id or of its own; returns its id."""
        started = await self.call("lead", "tasks", {"id": task_id, "content": {"questions": [*questions]}})
        return TaskResult.model_validate(started).task_id

    async def answers(self, task_id: str) -> list[str]:
        """What the worker answered to the questions of a task."""

        async def look() -> TaskResult | None:
            try:
                result = TaskResult.model_validate(await self.call("lead", f"tasks/{task_id}", verb="GET"))
            except DovecoteError:
                return None  # the lead or its sidecar is away: it comes back
            return None if result.status == "running" else result

        result: TaskResult = await eventually(look, f"the result of task {task_id!r}", LIMIT)
        assert result.status == "completed", result.error
        assert isinstance(result.answer, list)
        return [str(answer) for answer in result.answer]
