"""Writer: turns research notes into a short answer that keeps its citations."""

from dovecote import Agent

agent = Agent(
    "writer",
    instructions=(
        "You write the answer to a question from notes. Use only the notes. Answer in two or three plain "
        "sentences, and keep the source label in square brackets behind each statement exactly as the notes "
        "have it. If there are remarks of a reviewer, mend the answer accordingly."
    ),
    capabilities=["write"],
)
app = agent.app
