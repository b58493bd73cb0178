"""The page of samples: its commands run, and its examples do what is said."""

import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dovecote import App, Message, MessageType
from dovecote.errors import NotFoundError
from dovecote.testing import Network
from dovecote.topics import DEAD_LETTERS
from services.directory.main import app as directory
from services.samples.__main__ import names
from tests.support.eventually import eventually
from tests.support.pages import blocks, load

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = (CHECKOUT / "services" / "samples" / "README.md").read_text()


def test_its_commands_run_each_sample() -> None:
    commands = [line for block in blocks("sh", PAGE) for line in block.splitlines()]
    assert sorted(command.rpartition(" ")[2] for command in commands) == names()
    for command in commands:
        done = subprocess.run(command, shell=True, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        assert (done.returncode, bool(done.stdout)) == (0, True), done.stderr


async def test_the_example_of_a_clerk_takes_what_is_sent_to_it(tmp_path: Path) -> None:
    [text] = blocks("python", PAGE.partition("## Take messages when you want to\n")[2].partition("\n## ")[0])
    clerk, sender = load(text, "clerk", tmp_path), App("sender")
    async with Network([clerk.clerk, sender]) as net:
        await sender.bus.send("clerk", {"form": 17})
        await sender.bus.send("clerk", "nonsense")
        await net.bus.settled()
        for _ in range(2):
            await clerk.work()
        stats = await clerk.mailbox.stats()
    assert (stats.depth, stats.acknowledged, stats.dead) == (0, 1, 1)


@pytest.mark.promise("AOS-19")
async def test_the_example_of_a_conversation_keeps_what_is_said_and_tells_the_newest(tmp_path: Path) -> None:
    [text] = blocks("python", PAGE.partition("## Keep a conversation\n")[2].partition("\n## ")[0])
    example = load(text, "minutes", tmp_path)
    async with Network([directory, example.minutes]) as net:
        for number in [3, *range(20)]:
            said = Message(
                id=f"m-{number}",
                type=MessageType.EVENT,
                sender="ann",
                content=f"{number}",
                conversation_id="monday",
            )
            await net.bus.publish("meetings/said", said)
        aside = Message(type=MessageType.EVENT, sender="ann", content="to nobody")
        await net.bus.publish("meetings/said", aside)
        await eventually(lambda: net.bus.events(DEAD_LETTERS), "what belongs to no meeting")

        async def told(tokens: int) -> Any:
            return await net.invoke("minutes", f"meetings/monday?tokens={tokens}", verb="GET")

        async def all_kept() -> bool:
            with suppress(NotFoundError):
                return len(await told(2000)) >= 20
            return False

        await eventually(all_kept, "what was said")
        assert sorted(await told(2000)) == sorted(f"ann: {number}" for number in range(20))
        assert len(await told(14)) == 2


@pytest.mark.promise("AOS-06", "AOS-07")
async def test_the_example_of_asking_gets_its_answers(tmp_path: Path) -> None:
    [text] = [block for block in blocks("python", PAGE) if "bus.request" in block]
    example = load(text, "asking", tmp_path)
    async with Network([example.shop, example.desk]):
        assert [await example.buy("tea") for _ in range(2)] == [(250, 2), (250, 4)]
