"""When a system counts as ready."""

import pytest

from deploy.local import readiness
from deploy.local.errors import CrashLoopError, NotReadyError
from deploy.local.readiness import Probe, wait_until_ready


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_INTERVAL", 0.001)


def answering(*answers: str | None) -> tuple[Probe, list[str | None]]:
    """A probe that answers so, one after the other, and the last for ever; and what it has answered."""
    given: list[str | None] = []

    async def probe() -> str | None:
        given.append(answers[min(len(given), len(answers) - 1)])
        return given[-1]

    return probe, given


async def test_all_are_asked_until_they_are_ready_and_once_more() -> None:
    slow, slows = answering("not yet", "not yet", None)
    quick, quicks = answering(None)
    await wait_until_ready({"slow": slow, "quick": quick}, list, 20)
    assert slows == ["not yet", "not yet", None, None]
    assert quicks == [None, None]


async def test_what_is_ready_only_for_a_moment_is_not_ready() -> None:
    brief, answers = answering(None, "it has ended")

    def faults() -> list[str]:
        return ["it fails again and again"] if "it has ended" in answers else []

    with pytest.raises(CrashLoopError, match="again and again"):
        await wait_until_ready({"brief": brief}, faults, 20)


async def test_what_is_not_ready_in_time_is_named_with_its_answer() -> None:
    never, _ = answering("no answer")
    with pytest.raises(NotReadyError, match=r"(?s)not ready after 0\.01 s:.*never: no answer"):
        await wait_until_ready({"never": never}, list, 0.01)
