"""Ledger: a tool with an effect, so that a test can count how often it took place."""

import asyncio
import os

from dovecote import Call, Tools

tools = Tools("ledger")


@tools.tool
async def deposit(account: str, amount: int, call: Call) -> int:
    """Put an amount into an account, and tell the new balance."""
    balance = int(await call.state.get(account, 0)) + amount
    call.state.put(account, balance)
    await asyncio.sleep(float(os.environ.get("LEDGER_SECONDS", "0")))
    return balance


@tools.tool(read_only=True)
async def balance(account: str, call: Call) -> int:
    """Balance of an account."""
    return int(await call.state.get(account, 0))


@tools.tool
def explode() -> float:
    """Raise an error of its own."""
    return 1 / 0


@tools.tool
def mystery() -> object:
    """Return something that is not JSON."""
    return object()


app = tools.app
