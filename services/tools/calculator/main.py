"""Calculator: exact arithmetic."""

from dovecote import ToolError, Tools
from services.tools.calculator import evaluator
from services.tools.calculator.errors import CalculationError

tools = Tools("calculator", capabilities=["calculate"])


@tools.tool(read_only=True)
def evaluate(expression: str) -> evaluator.Evaluation:
    """Value of an arithmetic expression such as (3 + 4) * 2 ^ 0.5, 12% of 1,250 or round(pi, 2).

    The value is exact where it can be: 0.1 + 0.2 is 0.3, and 1/3 is given as a fraction with its first digits.
    """
    try:
        return evaluator.evaluate(expression)
    except CalculationError as error:
        raise ToolError(str(error)) from error


app = tools.app
