"""Lead: an orchestrator that asks the worker, as often at once as it is told."""

from collections.abc import Generator
from typing import Any

from pydantic import BaseModel

from dovecote import AgentResult, Orchestrator, PlanContext


class Work(BaseModel):
    """What the worker is to be asked."""

    questions: list[str]


def lead() -> Orchestrator:
    """A lead of its own, for each replica."""
    orchestrator = Orchestrator("lead")

    @orchestrator.plan(Work)
    def ask_all(ctx: PlanContext, work: Work) -> Generator[Any, Any, list[str]]:
        answers: list[AgentResult] = yield ctx.gather(*(ctx.ask("worker", question) for question in work.questions))
        return [answer.text for answer in answers]

    return orchestrator


app = lead().app
