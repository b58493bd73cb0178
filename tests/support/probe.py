"""An app whose handlers, activities and routes do what a test tells them, and which keeps what it saw."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from inspect import isawaitable
from typing import Any

from pydantic import BaseModel, JsonValue
from starlette.requests import Request

from dovecote import App, Call, Commands, Mailbox, Message, MessageType, topics
from dovecote.adapters.sqlfilter import to_cel
from dovecote.errors import named
from dovecote.ports import Ports
from tests.support.probe_workflows import WORKFLOWS

NEWS = "contract/news"
HEAP = "contract/heap"
ASKS = "contract/asks"
RULED = "contract/ruled"
FILTERED = "contract/filtered"
FILTER = (
    "agent_id = 'ceo_agent' AND n >= 2 AND NOT (kind LIKE 'x%' OR kind IN ('y', 'w')) AND gone IS NULL "
    "AND EXISTS(n) AND urgent <> FALSE AND -1.5e2 > [amount due]"
)


class Parcel(BaseModel):
    """What the probe's route for checked input takes."""

    weight: int


class Probe:
    """One replica of an app. `does` maps a message id or an activity's key to what is to be done with it."""

    def __init__(self, name: str, *, collects_failures: bool = False) -> None:
        self.app = App(name, requests=True)
        self.seen: defaultdict[str, list[Message]] = defaultdict(list)
        self.dead: defaultdict[str, list[Message]] = defaultdict(list)
        self.reasons: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.sums: list[int] = []
        self.does: dict[str, Callable[[Any], Any]] = {}
        self.app.subscribe(NEWS)(self._take)
        self.app.subscribe(HEAP, bulk=True)(self._take)
        self.app.subscribe(ASKS, default_type=MessageType.QUERY, raw=True)(self._take)
        self.app.bus.subscribe(types=[kind for kind in MessageType if kind is not MessageType.TASK])(self._answer)
        Commands(self.app).command(self.add)
        self.mailbox = Mailbox(self.app)
        self.app.subscribe(RULED, match='event.type == "task"', priority=2)(self._task)
        self.app.subscribe(RULED, match="has(event.data.n) && event.data.n > 10", priority=1)(self._large)
        self.app.subscribe(RULED, match='event.type == "event" && event.data.kind == "x"', priority=3)(self._take)
        self.app.subscribe(FILTERED, match=to_cel(FILTER))(self._take)
        if collects_failures:
            self.app.subscribe(topics.DEAD_LETTERS, dead_letter=False, raw=True)(self._bury)
            self.app.subscribe(topics.FAILURES, dead_letter=False)(self._explain)
        self.app.workflows.update(WORKFLOWS)
        self.app.activities["do"] = self._do
        self._add_routes()

    @property
    def ports(self) -> Ports:
        return self.app.running.ports

    async def _take(self, message: Message) -> None:
        self.seen[message.id].append(message)
        await self._behave(message.id, message)

    async def _answer(self, message: Message) -> JsonValue:
        self.seen[message.id].append(message)
        return {"answer": message.content, "done": await self._behave(message.id, message)}

    async def add(self, number: int, call: Call) -> int:
        """Add to the sum; returns it."""
        total = int(await call.state.get("sum", 0)) + number
        call.state.put("sum", total)
        self.sums.append(total)
        return total

    async def _task(self, message: Message) -> None:
        self.seen[f"task {message.id}"].append(message)

    async def _large(self, message: Message) -> None:
        self.seen[f"large {message.id}"].append(message)

    async def _bury(self, message: Message) -> None:
        self.dead[message.id].append(message)

    async def _explain(self, message: Message) -> None:
        assert isinstance(message.content, dict)
        self.reasons[str(message.causation_id)].append(message.content)

    async def _do(self, data: dict[str, Any]) -> JsonValue:
        result: JsonValue = await self._behave(data["key"], data)
        return result

    async def _behave(self, key: str, what: Any) -> Any:
        done = self.does[key](what) if key in self.does else None
        return await done if isawaitable(done) else done

    def _add_routes(self) -> None:
        router = self.app.router

        @router.api_route("/echo", methods=["GET", "POST", "PUT", "DELETE"])
        async def echo(request: Request) -> dict[str, Any]:
            body = await request.body()
            return {
                "verb": request.method,
                "body": body.decode(),
                "mark": request.headers.get("x-mark"),
                "query": dict(request.query_params),
            }

        @router.post("/nothing", status_code=204)
        async def nothing() -> None: ...

        @router.post("/problem/{name}")
        async def problem(name: str) -> None:
            error = named(name, f"a {name} with 'quotes' and ümlauts")
            error.mend = "mend it"
            raise error

        @router.post("/crash")
        async def crash() -> None:
            raise KeyError("secret")

        @router.post("/parcel")
        async def parcel(parcel: Parcel) -> int:
            return parcel.weight

        @router.post("/never")
        async def never() -> None:
            await asyncio.Event().wait()
