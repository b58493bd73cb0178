"""Turner: the agent whose turns are measured."""

from dovecote import Agent

agent = Agent("turner", instructions="Rest once, then say that you did.", uses=["clock"])
app = agent.app
