"""Orchestrator: answers a question over documents with a researcher, a writer and a reviewer."""

from collections.abc import Generator
from typing import Any

from dovecote import AgentResult, Orchestrator, PlanContext, cited
from services.contracts.documents import IndexReport
from services.contracts.tasks import Answer, Question

REVISIONS = 1

orchestrator = Orchestrator("orchestrator")


@orchestrator.plan(Question)
def answer(ctx: PlanContext, question: Question) -> Generator[Any, Any, Answer]:
    """Index the documents, research, write, have it reviewed, and write again if the reviewer says so."""
    report = IndexReport.model_validate((yield ctx.call("knowledge", "index")))
    researcher, writer, reviewer = yield ctx.find("research", "write", "review")
    finding: AgentResult = yield ctx.ask(researcher, question)
    request = {"question": question.question, "notes": finding.text}
    draft: AgentResult = yield ctx.ask(writer, request)
    review: AgentResult = yield ctx.ask(reviewer, {**request, "draft": draft.text})
    for _ in range(REVISIONS):
        if not review.text.lstrip().upper().startswith("REVISE"):
            break
        draft = yield ctx.ask(writer, {**request, "draft": draft.text, "remarks": review.text})
        review = yield ctx.ask(reviewer, {**request, "draft": draft.text})
    return Answer(
        text=draft.text,
        citations=cited(draft.text, finding.sources),
        review=review.text,
        unreadable=[f"{row.file}: {row.reason}" for row in report.unreadable],
    )


app = orchestrator.app
