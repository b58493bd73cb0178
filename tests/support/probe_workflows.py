"""The workflows of the probe: each uses one thing that a workflow may do."""

from collections.abc import Generator
from datetime import timedelta
from typing import Any

from dovecote.errors import BudgetError, DovecoteError
from dovecote.ports import Retry, Steps, WorkflowContext, WorkflowFunction

QUICK = Retry(attempts=3, first=0.05, factor=1.0)


def activity(context: WorkflowContext, data: Any) -> Generator[Any, Any, Any]:
    """The result of one activity; an error is told by class and text."""
    try:
        return (yield context.call_activity("do", data, QUICK))
    except DovecoteError as error:
        return {"error": type(error).__name__, "text": str(error), "mend": error.mend}


def event(context: WorkflowContext, data: Any) -> Steps:
    """The data of an event, or `late` after the limit."""
    limit = timedelta(seconds=data["limit"]) if data.get("limit") else None
    try:
        return {"event": (yield context.wait_for_external_event("news", limit))}
    except TimeoutError:
        return "late"


def late_event(context: WorkflowContext, data: Any) -> Steps:
    """Waits for an event in vain, does an activity, and waits for it again."""
    try:
        yield context.wait_for_external_event("news", timedelta(seconds=0.3))
    except TimeoutError:
        yield context.call_activity("do", data, QUICK)
    return {"event": (yield context.wait_for_external_event("news"))}


def events(context: WorkflowContext, data: Any) -> Steps:
    """An activity, then three events of one name, in the order of their coming."""
    yield context.call_activity("do", data, QUICK)
    return [
        (yield context.wait_for_external_event("news")),
        (yield context.wait_for_external_event("news")),
        (yield context.wait_for_external_event("news")),
    ]


def together(context: WorkflowContext, data: Any) -> Generator[Any, Any, Any]:
    """The results of several activities at once."""
    try:
        return (yield context.when_all([context.call_activity("do", each, QUICK) for each in data]))
    except DovecoteError as error:
        return {"error": type(error).__name__, "text": str(error)}


def first(context: WorkflowContext, data: Any) -> Steps:
    """The first of two events, and after it the other one."""
    waits = {"one": context.wait_for_external_event("one"), "two": context.wait_for_external_event("two")}
    order: list[Any] = []
    while waits:
        done = yield context.when_any(list(waits.values()))
        name = next(name for name, wait in waits.items() if wait is done)
        order.append([name, context.result_of(waits.pop(name))])
    return order


def first_failing(context: WorkflowContext, data: Any) -> Steps:
    """What `result_of` raises for an activity that failed."""
    done = yield context.when_any([context.call_activity("do", data, QUICK)])
    try:
        return {"result": context.result_of(done)}
    except DovecoteError as error:
        return {"error": type(error).__name__, "text": str(error)}


def pause(context: WorkflowContext, data: Any) -> Steps:
    """The seconds that a timer took, by the workflow's own clock, and its zone."""
    began = context.current_utc_datetime
    yield context.create_timer(timedelta(seconds=data))
    return {"seconds": (context.current_utc_datetime - began).total_seconds(), "zone": began.tzname()}


def failing(context: WorkflowContext, data: Any) -> Steps:
    """Raises, after a step, an error of ours or a foreign one."""
    yield context.call_activity("do", data, QUICK)
    if data["raises"] == "BudgetError":
        raise BudgetError("too dear")
    raise KeyError("gone")


def identity(context: WorkflowContext, data: Any) -> Steps:
    """Its input and its id, after a step."""
    yield context.call_activity("do", {"key": ""}, QUICK)
    return {"id": context.instance_id, "data": data}


WORKFLOWS: dict[str, WorkflowFunction] = {
    workflow.__name__: workflow
    for workflow in (
        activity,
        event,
        late_event,
        events,
        together,
        first,
        first_failing,
        pause,
        failing,
        identity,
    )
}
