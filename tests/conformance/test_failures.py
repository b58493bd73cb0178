"""What becomes of a message whose handler fails."""

from tests.conformance.fleet import Fleet
from tests.conformance.test_delivery import event


async def test_a_rejected_message_is_a_dead_letter_at_once(fleet: Fleet) -> None:
    """A message that its handler rejects is a dead letter at once, with the reason."""
    message = event({"a": 1})
    fleet.log.fail(message, "Reject", "not for me")
    await fleet.publish(message)
    letter = await fleet.dead_letter(message)
    [reason] = letter["reasons"]
    assert letter["message"]["content"] == {"a": 1}
    assert (reason["reason"], reason["attempt"], reason["topic"]) == ("not for me", 1, "conformance/news")
    assert (reason["consumer"], reason["error"], reason["verdict"]) == ("alpha", "Reject", "DROP")
    assert "Reject: not for me" in reason["traceback"]
    assert len(fleet.log.attempts(message)) == 1
    await fleet.handled(message, app="beta")
