"""What is wrong with an expression, in words that whoever wrote it can act on."""


class CalculationError(ValueError):
    """An expression that has no value here.

    `position` is the 1-based character of the expression where the fault lies, or None.
    """

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.position = position

    def __str__(self) -> str:
        return self.message if self.position is None else f"{self.message} (at character {self.position})"
