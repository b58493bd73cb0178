"""A consumer of one topic, as the load sees it: how much arrived, when, and what it cost the process."""

from dataclasses import dataclass

from bench.load import Load
from bench.processes import pid_of, use_of
from deploy.local.system import System


@dataclass(frozen=True)
class Drain:
    """What draining a backlog took: messages a second, and the app's processor time for one, in µs."""

    per_second: float
    cpu: float


@dataclass(frozen=True)
class Consumer:
    """An app that keeps a tally of a topic."""

    system: System
    load: Load
    app: str
    topic: str

    async def start(self, *, closed: bool = False) -> None:
        """Begin a new tally; with `closed` the handlers wait, so that a backlog grows."""
        await self.load.post(f"{self._url}?closed={str(closed).lower()}")

    async def reach(self, count: int) -> int:
        """Wait until that many different messages have arrived; returns when the last one did, in ns.

        Raises RuntimeError if not one more comes within a minute.
        """
        before = -1
        while (tally := await self.load.get(f"{self._url}?count={count}"))["messages"] != count:
            if tally["messages"] == before:
                raise RuntimeError(f"app {self.app!r}, topic {self.topic!r}: {tally} instead of {count} messages")
            before = tally["messages"]
        return int(tally["last"])

    async def delays(self) -> list[float]:
        """How long each message was under way, in ms."""
        return [delay / 1e6 for delay in await self.load.get(f"{self._url}/delays")]

    def cpu(self) -> float:
        """Processor time that the app has used so far, in seconds."""
        return use_of(pid_of(self.system, self.app)).cpu

    async def drain(self, count: int) -> Drain:
        """Let a backlog of that many messages grow, then take it."""
        await self.start(closed=True)
        await self.load.backlog(self.topic, count)
        cpu = self.cpu()
        began = (await self.load.post(f"{self._url}/gate"))["at"]
        last = await self.reach(count)
        return Drain(count / (last - began) * 1e9, (self.cpu() - cpu) / count * 1e6)

    @property
    def _url(self) -> str:
        return f"{self.system.url(self.app)}/tallies/{self.topic}"
