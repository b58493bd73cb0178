"""The value of an arithmetic expression, exact where it can be."""

import ast
import inspect
from collections.abc import Callable
from decimal import Context, Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

import simpleeval
from pydantic import BaseModel, ConfigDict, Field

from services.tools.calculator.arithmetic import (
    BINARY,
    CONSTANTS,
    FUNCTIONS,
    MAX_DIGITS,
    UNARY,
    Value,
    bounded,
)
from services.tools.calculator.errors import CalculationError
from services.tools.calculator.notation import Source, translate

MAX_LENGTH = 1000
_MAX_NESTING = 40
_MAX_PLACES = 30
_SIGNIFICANT = 15


class Evaluation(BaseModel):
    """What an expression comes to.

    `value` is an integer or a decimal in full ("0.3"); where no decimal of 30 places is exact, the fraction
    and its first 15 digits, "1/3 (about 0.333333333333333)"; if inexact, 15 significant digits.
    """

    model_config = ConfigDict(frozen=True)

    expression: str = Field(description="The expression as it was given.")
    value: str = Field(description="Its value, written out.")
    exact: bool = Field(description="False when a root, logarithm, sine, pi or the like made it inexact.")


def evaluate(expression: str) -> Evaluation:
    """Evaluation of an arithmetic expression such as `(3 + 4) * 2 ^ 10` or `12% of 1,250`.

    Raises CalculationError, and nothing else, for what is no arithmetic, has no value, or is beyond bounds:
    1,000 characters, 40 levels of nesting, 1,000 digits a number.
    """
    if len(expression) > MAX_LENGTH:
        message = f"The expression has {len(expression)} characters, at most {MAX_LENGTH} may be: split it"
        raise CalculationError(message)
    source = translate(expression, FUNCTIONS.keys() | CONSTANTS.keys())
    value = _Evaluator(source).value(_parse(source))
    exact = isinstance(value, Fraction)
    return Evaluation(expression=expression, value=_write(value), exact=exact)


def _parse(source: Source) -> ast.expr:
    try:
        tree = ast.parse(source.python, mode="eval").body
    except SyntaxError as error:
        raise _misread(source, error) from None
    except (RecursionError, MemoryError):
        raise CalculationError(_too_nested()) from None
    _check_nesting(tree)
    return tree


def _misread(source: Source, error: SyntaxError) -> CalculationError:
    # Python words brackets well; its other messages speak of its own language.
    if "(" in error.msg or ")" in error.msg:
        message = f"The brackets do not match: {error.msg}"
    else:
        message = "Something is missing or misplaced here"
    column = error.offset - 1 if error.offset and error.lineno == 1 else len(source.python)
    return CalculationError(message, source.position(column))


def _too_nested() -> str:
    return f"The expression is nested deeper than {_MAX_NESTING} levels: split it into parts"


def _check_nesting(tree: ast.expr) -> None:
    level: list[ast.AST] = [tree]
    for _ in range(_MAX_NESTING):
        level = [child for node in level for child in _operands(node)]
    if level:
        raise CalculationError(_too_nested())


def _operands(node: ast.AST) -> list[ast.AST]:
    """What a node is computed from, a chain of binary operators (1 + 2 + 3 ...) being one level."""
    if not isinstance(node, ast.BinOp):
        return [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    found: list[ast.AST] = []
    left: ast.expr = node
    while isinstance(left, ast.BinOp):
        found.append(left.right)
        left = left.left
    return [left, *found]


class _Evaluator:
    """The library's evaluator, cut down to arithmetic, with literals exact and faults located."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._library = simpleeval.SimpleEval(operators=UNARY | BINARY, functions=FUNCTIONS, names=CONSTANTS)
        self._library.nodes = {
            ast.Constant: self._literal,
            ast.Name: self._name,
            ast.UnaryOp: self._located(self._library.nodes[ast.UnaryOp]),
            ast.BinOp: self._chain,
            ast.Call: self._located(self._call),
        }

    def value(self, tree: ast.expr) -> Value:
        """Value of a parsed expression, or of a part of it."""
        try:
            value: Value = self._library.eval(self._source.python, previously_parsed=tree)
        except simpleeval.InvalidExpression:
            raise CalculationError("This is no arithmetic: use numbers, operators and functions") from None
        return value

    def _located(self, handler: Callable[[Any], Value]) -> Callable[[Any], Value]:
        def handle(node: ast.expr) -> Value:
            try:
                return handler(node)
            except CalculationError as error:
                raise self._at(node, error) from None

        return handle

    def _at(self, node: ast.expr, error: CalculationError) -> CalculationError:
        if error.position is not None:
            return error
        return CalculationError(error.message, self._source.position(node.col_offset))

    def _literal(self, node: ast.Constant) -> Value:
        text = ast.get_source_segment(self._source.python, node) or ""
        try:
            number = Decimal(text)
        except InvalidOperation:
            number = Decimal("Infinity")
        # An exponent is looked at before it is carried out: 1e999999999 would take all memory.
        if not number.is_finite() or abs(number.adjusted()) >= MAX_DIGITS:
            message = f"{text[:40]} is too large: numbers may have {MAX_DIGITS} digits"
            raise CalculationError(message, self._source.position(node.col_offset))
        return bounded(Fraction(number))

    def _name(self, node: ast.Name) -> Value:
        if node.id in FUNCTIONS:
            message = f"{node.id} is a function: write {node.id}(...)"
            raise CalculationError(message, self._source.position(node.col_offset))
        return CONSTANTS[node.id]

    def _chain(self, node: ast.BinOp) -> Value:
        # Long sums lean to the left: folded in a loop they need no stack.
        chain: list[ast.BinOp] = []
        left: ast.expr = node
        while isinstance(left, ast.BinOp):
            chain.append(left)
            left = left.left
        value = self.value(left)
        for step in reversed(chain):
            right = self.value(step.right)
            try:
                value = BINARY[type(step.op)](value, right)
            except CalculationError as error:
                raise self._at(step.right, error) from None
        return value

    def _call(self, node: ast.Call) -> Value:
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            raise CalculationError("Write an operator before the bracket, for example a *")
        function = FUNCTIONS[node.func.id]
        if node.keywords:
            raise CalculationError("Arguments are numbers only")
        arguments = [self.value(argument) for argument in node.args]
        try:
            inspect.signature(function).bind(*arguments)
        except TypeError:
            takes = ", ".join(inspect.signature(function).parameters)
            message = f"{node.func.id} takes ({takes}), not {len(arguments)} arguments"
            raise CalculationError(message) from None
        return function(*arguments)


def _write(value: Value) -> str:
    if isinstance(value, float):
        # Adding zero turns -0.0 into 0.0.
        return f"{value + 0.0:.{_SIGNIFICANT}g}"
    if value.denominator == 1:
        return str(value.numerator)
    places = _places(value.denominator)
    if places is not None:
        digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
        return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
    about = Context(prec=_SIGNIFICANT).divide(Decimal(value.numerator), Decimal(value.denominator))
    return f"{value} (about {about})"


def _places(denominator: int) -> int | None:
    """Decimal places that write a fraction exactly, or None if that takes too many."""
    return next((places for places in range(_MAX_PLACES + 1) if 10**places % denominator == 0), None)
