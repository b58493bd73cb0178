"""Tasks: somebody waits for their outcome, so they are safe on every broker."""

from tests.conformance.fleet import Fleet


async def test_a_task_is_answered(fleet: Fleet) -> None:
    """A task is answered; tasks that are asked at once each get their own answer."""
    task = await fleet.ask(["one", "two", "three"])
    assert await fleet.answers(task) == ["Done: one", "Done: two", "Done: three"]
