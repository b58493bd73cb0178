"""Routing: rules that choose, by what a message says, who gets it: one app, or several in turn."""

from dovecote import App, Message, MessageType
from dovecote.routing import MessageRouter
from dovecote.testing import Network

desk, chief, ann, bob = App("desk"), App("chief"), App("ann"), App("bob")
apps = [desk, chief, ann, bob]
router = MessageRouter(desk)
router.add_rule("urgent", "event.priority <= 1.0", "chief")
router.add_load_balancing_rule("analysis", 'event.data.task == "analysis"', ["ann", "bob"])
got: list[str] = []


def takes(app: App) -> None:
    """Let an app note what it gets."""

    @app.bus.subscribe()
    async def take(message: Message) -> None:
        got.append(f"{app.name} gets {message.priority.name} {message.content}")


for one in (chief, ann, bob):
    takes(one)


async def show(net: Network) -> list[str]:
    """One for the chief, and three for the analysts in turn."""
    got.clear()
    for priority in (1, 2, 2, 2):
        work = Message.model_validate(
            {"type": MessageType.TASK, "sender": "desk", "content": {"task": "analysis"}, "priority": priority}
        )
        await router.forward(work)
    await net.bus.settled()
    return got.copy()
