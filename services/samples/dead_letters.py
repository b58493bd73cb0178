"""Dead letters: what a handler refuses is kept with the reason, and handed in again when the handler is mended."""

from typing import Any

from dovecote import App, Message, Reject
from dovecote.testing import Network

office, clerk = App("office"), App("clerk")
apps = [office, clerk]
known = {"A"}
filed: list[str] = []


@clerk.subscribe("forms")
async def file(form: Message) -> None:
    """What is refused is tried no more; any other error would be tried again first."""
    if form.content not in known:
        raise Reject(f"there is no form {form.content!r}")
    filed.append(str(form.content))


async def show(net: Network) -> list[str]:
    """`dovecote dlq ls`, `show` and `resubmit` do what is done here."""
    filed.clear()
    known.discard("B")
    form = await office.bus.publish("forms", "B")
    await net.bus.settled()
    letter: Any = await net.invoke("recorder", f"deadletters/{form.id}", verb="GET")
    reason = letter["reasons"][0]
    known.add("B")
    row: Any = await net.invoke("recorder", "deadletters/resubmit", {"id": form.id})
    return [f"{reason['consumer']}: {reason['reason']}", f"then {row['state']}: {filed}"]
