"""What an agent may use for one task."""

from collections.abc import Mapping

from pydantic import BaseModel

from dovecote.errors import BudgetError
from dovecote.ports import Usage


class Budget(BaseModel):
    """Limits of one task. `seconds` is wall time; `context` and `tool_result` are in characters.

    `repeats` is how often the model may ask for the very same call.
    """

    steps: int = 12
    model_calls: int = 12
    tokens: int = 200_000
    seconds: float = 600.0
    repeats: int = 3
    context: int = 200_000
    tool_result: int = 24_000

    def check(self, agent: str, steps: int, used: Usage, seconds: float) -> None:
        """Raise BudgetError if another step would go beyond a limit."""
        for what, spent, limit in (
            ("steps", steps, self.steps),
            ("model_calls", used.model_calls, self.model_calls),
            ("tokens", used.tokens, self.tokens),
            ("seconds", seconds, self.seconds),
        ):
            if spent >= limit:
                raise BudgetError(
                    f"agent {agent!r} used {spent:g} of {limit:g} {what} without an answer",
                    mend=f"raise its budget.{what}",
                )

    def check_repeats(self, agent: str, asked: Mapping[str, int]) -> None:
        """Raise BudgetError if a call, by its name and arguments, was asked for too often."""
        for call, times in asked.items():
            if times >= self.repeats:
                raise BudgetError(
                    f"agent {agent!r} goes in circles: its model asked {times} times for {call}",
                    mend="give it clearer instructions or a better tool",
                )
