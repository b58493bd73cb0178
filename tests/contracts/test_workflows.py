"""What every workflow engine does."""

import asyncio
from typing import Any

import pytest

from dovecote.errors import BudgetError, Reject, UnavailableError
from dovecote.messages import new_id
from dovecote.ports import WorkflowStatus
from tests.contracts.conftest import Kit
from tests.support.eventually import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


async def _ended(kit: Kit, instance_id: str) -> WorkflowStatus:
    async def look() -> WorkflowStatus | None:
        status = await kit.alpha.ports.workflows.status(instance_id)
        return status if status and status.status != "running" else None

    status: WorkflowStatus = await eventually(look, f"the end of {instance_id}", seconds=30)
    return status


async def _run(kit: Kit, workflow: str, data: Any) -> WorkflowStatus:
    instance_id = new_id()
    assert await kit.alpha.ports.workflows.schedule(workflow, data, instance_id=instance_id)
    return await _ended(kit, instance_id)


class Work:
    """An activity's work that counts itself; raises its errors one after the other, then returns the result."""

    def __init__(self, kit: Kit, result: Any = None, *errors: Exception) -> None:
        self.key = new_id()
        self.times = 0
        self._result = result
        self._errors = list(errors)
        kit.alpha.does[self.key] = self._do

    def _do(self, _: Any) -> Any:
        self.times += 1
        if self._errors:
            raise self._errors.pop(0)
        return self._result


@pytest.mark.parametrize("result", ["text", "", 0, 2.5, None, [], {}, {"a": [1, None, "ü"]}, False])
async def test_the_result_of_an_activity_is_the_output(kit: Kit, result: Any) -> None:
    work = Work(kit, result)
    status = await _run(kit, "activity", {"key": work.key})
    assert (status.status, status.output, work.times) == ("completed", result, 1)


async def test_a_workflow_knows_its_input_and_its_id(kit: Kit) -> None:
    data = {"text": "ü", "list": [1, {"a": None}], "deep": {"b": [[]]}}
    status = await _run(kit, "identity", data)
    assert status.output == {"id": status.instance_id, "data": data}


async def test_a_run_may_be_given_and_give_megabytes(kit: Kit) -> None:
    data = "x" * (4 << 20)
    status = await _run(kit, "identity", data)
    assert status.output == {"id": status.instance_id, "data": data}


async def test_an_id_that_runs_is_not_started_again(kit: Kit) -> None:
    workflows, instance_id = kit.alpha.ports.workflows, new_id()
    assert await workflows.schedule("event", {}, instance_id=instance_id)
    await eventually(lambda: workflows.status(instance_id), "the run")
    assert not await workflows.schedule("event", {}, instance_id=instance_id)
    await workflows.raise_event(instance_id, "news", {"n": 1})
    assert (await _ended(kit, instance_id)).output == {"event": {"n": 1}}


async def test_an_id_that_has_ended_is_not_started_again(kit: Kit) -> None:
    work, workflows = Work(kit, "once"), kit.alpha.ports.workflows
    status = await _run(kit, "activity", {"key": work.key})
    assert not await workflows.schedule("activity", {"key": work.key}, instance_id=status.instance_id)
    assert await workflows.status(status.instance_id) == status
    assert work.times == 1


async def test_an_id_that_has_failed_is_not_started_again(kit: Kit) -> None:
    work, workflows = Work(kit), kit.alpha.ports.workflows
    status = await _run(kit, "failing", {"key": work.key, "raises": "BudgetError"})
    assert not await workflows.schedule("failing", {"key": work.key, "raises": ""}, instance_id=status.instance_id)
    assert await workflows.status(status.instance_id) == status


async def test_of_many_starts_at_once_one_counts(kit: Kit) -> None:
    work, workflows, instance_id = Work(kit, "once"), kit.alpha.ports.workflows, new_id()
    started = await asyncio.gather(
        *(workflows.schedule("activity", {"key": work.key}, instance_id=instance_id) for _ in range(8))
    )
    assert (await _ended(kit, instance_id)).output == "once"
    assert (sum(started), work.times) == (1, 1)


async def test_an_activity_is_tried_again_after_a_retryable_error(kit: Kit) -> None:
    work = Work(kit, "at last", UnavailableError("one"), RuntimeError("two"))
    status = await _run(kit, "activity", {"key": work.key})
    assert (status.output, work.times) == ("at last", 3)


async def test_an_activity_is_given_up_after_its_attempts(kit: Kit) -> None:
    work = Work(kit, None, *(UnavailableError(f"try {number}") for number in range(1, 9)))
    status = await _run(kit, "activity", {"key": work.key})
    assert (status.output, work.times) == ({"error": "UnavailableError", "text": "try 3", "mend": ""}, 3)


@pytest.mark.parametrize(
    ("error", "told"),
    [(BudgetError("too dear — ü", mend="raise it"), "BudgetError"), (Reject("no"), "Reject")],
)
async def test_an_error_that_no_retry_mends_is_not_tried_again(kit: Kit, error: Reject, told: str) -> None:
    work = Work(kit, None, error)
    status = await _run(kit, "activity", {"key": work.key})
    assert status.output == {"error": told, "text": str(error), "mend": error.mend}
    assert work.times == 1


async def test_a_foreign_error_keeps_its_name_in_the_text(kit: Kit) -> None:
    work = Work(kit, None, *(ValueError("odd") for _ in range(5)))
    status = await _run(kit, "activity", {"key": work.key})
    assert status.output == {"error": "DovecoteError", "text": "ValueError: odd", "mend": ""}


async def test_an_event_wakes_who_waits(kit: Kit) -> None:
    workflows, instance_id = kit.alpha.ports.workflows, new_id()
    await workflows.schedule("event", {"limit": 60}, instance_id=instance_id)
    await workflows.raise_event(instance_id, "news", {"a": [None, 1]})
    assert (await _ended(kit, instance_id)).output == {"event": {"a": [None, 1]}}


async def test_an_event_without_data_is_refused(kit: Kit) -> None:
    with pytest.raises(ValueError, match="'news' has no data"):
        await kit.alpha.ports.workflows.raise_event(new_id(), "news", {})


async def test_events_that_come_before_anybody_waits_are_kept_in_order(kit: Kit) -> None:
    workflows, instance_id, go = kit.alpha.ports.workflows, new_id(), asyncio.Event()
    key = new_id()
    kit.alpha.does[key] = lambda _: go.wait()
    await workflows.schedule("events", {"key": key}, instance_id=instance_id)
    for number in range(3):
        await workflows.raise_event(instance_id, "news", {"n": number})
    go.set()
    assert (await _ended(kit, instance_id)).output == [{"n": 0}, {"n": 1}, {"n": 2}]


async def test_an_event_that_does_not_come_is_a_time_out(kit: Kit) -> None:
    assert (await _run(kit, "event", {"limit": 0.2})).output == "late"


async def test_an_event_after_a_time_out_reaches_the_next_wait(kit: Kit) -> None:
    workflows, instance_id, go, key = kit.alpha.ports.workflows, new_id(), asyncio.Event(), new_id()
    began = asyncio.Event()

    async def hold(_: Any) -> None:
        began.set()
        await go.wait()

    kit.alpha.does[key] = hold
    await workflows.schedule("late_event", {"key": key}, instance_id=instance_id)
    await asyncio.wait_for(began.wait(), 20)
    await workflows.raise_event(instance_id, "news", {"still": "wanted"})
    go.set()
    assert (await _ended(kit, instance_id)).output == {"event": {"still": "wanted"}}


async def test_an_event_for_a_run_that_has_ended_is_ignored(kit: Kit) -> None:
    status = await _run(kit, "identity", None)
    await kit.alpha.ports.workflows.raise_event(status.instance_id, "news", {"n": 1})
    assert await kit.alpha.ports.workflows.status(status.instance_id) == status


async def test_activities_run_at_once_and_their_results_keep_the_order(kit: Kit) -> None:
    keys, running, most = [new_id() for _ in range(5)], 0, asyncio.Event()

    def work(number: int) -> Any:
        async def run(_: Any) -> int:
            nonlocal running
            running += 1
            if running == 5:
                most.set()
            await asyncio.wait_for(most.wait(), 20)
            return number

        return run

    for number, key in enumerate(keys):
        kit.alpha.does[key] = work(number)
    assert (await _run(kit, "together", [{"key": key} for key in keys])).output == [0, 1, 2, 3, 4]


async def test_one_failure_of_several_activities_fails_them_after_all_are_done(kit: Kit) -> None:
    works = [Work(kit, 1), Work(kit, None, BudgetError("the second")), Work(kit, 3)]
    status = await _run(kit, "together", [{"key": work.key} for work in works])
    assert status.output == {"error": "BudgetError", "text": "the second"}
    assert [work.times for work in works] == [1, 1, 1]


async def test_nothing_to_wait_for_is_done_at_once(kit: Kit) -> None:
    assert (await _run(kit, "together", [])).output == []


async def test_the_first_of_two_events_comes_first_and_the_other_is_not_lost(kit: Kit) -> None:
    workflows, instance_id = kit.alpha.ports.workflows, new_id()
    await workflows.schedule("first", None, instance_id=instance_id)
    await workflows.raise_event(instance_id, "two", {"b": 0})
    await workflows.raise_event(instance_id, "one", {"a": 0})
    assert (await _ended(kit, instance_id)).output == [["two", {"b": 0}], ["one", {"a": 0}]]


async def test_the_error_of_the_first_one_is_raised_where_its_result_is_asked_for(kit: Kit) -> None:
    work = Work(kit, None, BudgetError("too dear"))
    status = await _run(kit, "first_failing", {"key": work.key})
    assert status.output == {"error": "BudgetError", "text": "too dear"}


async def test_a_timer_takes_its_time_by_the_workflows_clock(kit: Kit) -> None:
    output = (await _run(kit, "pause", 0.5)).output
    assert isinstance(output, dict)
    assert 0.5 <= float(str(output["seconds"])) < 20
    assert output["zone"] == "UTC"


@pytest.mark.parametrize(
    ("raises", "told"), [("BudgetError", ("BudgetError", "too dear")), ("", ("DovecoteError", "KeyError: 'gone'"))]
)
async def test_a_run_whose_workflow_raises_has_failed_with_that_error(
    kit: Kit, raises: str, told: tuple[str, str]
) -> None:
    status = await _run(kit, "failing", {"key": "", "raises": raises})
    assert status.status == "failed"
    assert (status.error_type, status.error) == told


async def test_a_run_that_never_was_has_no_status(kit: Kit) -> None:
    assert await kit.alpha.ports.workflows.status(new_id()) is None
