"""Clock: a tool that takes a known time."""

import asyncio

from bench.agreed import TOOL_SECONDS
from dovecote import Tools

tools = Tools("clock")


@tools.tool
async def rest(reason: str) -> str:
    """Rest a moment, for the reason given."""
    await asyncio.sleep(TOOL_SECONDS)
    return f"rested: {reason}"


app = tools.app
