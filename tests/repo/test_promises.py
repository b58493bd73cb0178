"""Every promise has a test, or stands in the list of those that are open, with its reason."""

from pathlib import Path

import pytest

from tests.support import promises

pytestmark = pytest.mark.timeout(180)


def test_every_row_has_a_test_or_a_reason_and_never_both(request: pytest.FixtureRequest) -> None:
    found = promises.collected(Path(request.config.rootpath))
    assert promises.faults(found.shown) == []


def test_a_row_without_test_and_reason_one_with_both_and_one_that_nobody_promised_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(promises, "promised", lambda: {"ARG-01": "", "ARG-02": "", "ARG-03": ""})
    monkeypatch.setattr(promises, "still_open", lambda: {"ARG-03": "not built", "ARG-77": "why not"})
    told = promises.faults({"test_one": ["ARG-01", "ARG-03"], "test_two": ["ARG-99"]})
    assert [fault.split()[0] for fault in told] == ["ARG-02", "ARG-03", "ARG-99", "ARG-77"]
