"""An orchestrator with a plan of a test's own, two agents that say what they were told, and a tool."""

from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import BaseModel

from dovecote import (
    Agent,
    AgentResult,
    Orchestrator,
    PlanContext,
    ToolError,
    Tools,
)
from dovecote.errors import ModelError
from dovecote.results import TaskResult
from dovecote.settings import Settings
from dovecote.testing import Network, ScriptedModel
from services.directory.main import app as directory

Steps = Generator[Any, Any, Any]
bench = Tools("bench", capabilities=["saw"])
CALLS: list[str] = []


@bench.tool
async def saw(wood: str) -> str:
    """Saw wood."""
    CALLS.append(wood)
    if wood == "stone":
        raise ToolError("that is no wood", mend="bring wood")
    return f"sawn {wood}"


class Job(BaseModel):
    """What the plans of these tests work on."""

    what: str = "oak"


def agent(name: str) -> Agent:
    return Agent(name, instructions=f"You are {name}.", capabilities=[f"be-{name}"])


def obey(messages: Any, _: Any) -> str | Exception:
    """Fails where it is told to, else says who it is and what it was told."""
    name, told = messages[0].content.removeprefix("You are ").rstrip("."), messages[1].content
    return ModelError(f"{name} cannot") if "stumble" in told else f"{name}: {told}"


@asynccontextmanager
async def running(plan: Any, model: Any = obey, **settings: Any) -> AsyncIterator[Network]:
    CALLS.clear()
    lead = Orchestrator("lead")
    lead.plan(Job)(plan)
    apps: list[Any] = [directory, lead, bench, agent("ann"), agent("bob")]
    async with Network(apps, model=ScriptedModel(model), settings=Settings(**settings)) as net:
        yield net


async def run(plan: Any, content: Any = None, **settings: Any) -> TaskResult:
    async with running(plan, **settings) as net:
        return await net.ask(content or {})


def asking(timeout: float | None = None) -> Any:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        answer: AgentResult = yield ctx.ask("ann", "go", timeout=timeout)
        return answer.text

    return plan
