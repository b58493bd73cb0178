"""Researcher of the tests: it also writes to the ledger."""

from dovecote import Agent

agent = Agent(
    "researcher",
    instructions="You are the clerk. Use the tools.",
    uses=["knowledge", "calculator", "ledger"],
    capabilities=["research"],
)
app = agent.app
