"""Researcher of the tests with stock clients: its tool is one that only knows the broker."""

from dovecote import Agent

agent = Agent("researcher", instructions="You are the weigher. Weigh.", uses=["scale"], capabilities=["research"])
app = agent.app
