"""Reviewer: checks that a draft says nothing that its notes do not."""

from dovecote import Agent

agent = Agent(
    "reviewer",
    instructions=(
        "You check the draft of an answer against the notes that it was written from. Every statement must be "
        "in the notes, and carry the source label that the notes give it. "
        "Reply APPROVE or REVISE: <what is wrong>."
    ),
    capabilities=["review"],
)
app = agent.app
