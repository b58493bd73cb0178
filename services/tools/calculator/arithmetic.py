"""Operators and functions over exact fractions, with floats only where a value cannot be exact.

A value is a Fraction as long as it is exact. Roots that do not come out even, other powers with fractional
exponents, trigonometry, logarithms, pi and e give floats, and so does everything computed with one. Each
result is bounded, so that no expression can run away.
"""

import ast
import functools
import math
import operator
from collections.abc import Callable
from fractions import Fraction

from services.tools.calculator.errors import CalculationError

Value = Fraction | float
MAX_DIGITS = 1000
_MAX_BITS = int(MAX_DIGITS * math.log2(10))
_MAX_PLACES = 100
_SQUARE = 2
_NOISE = 1e-15
_TOO_LARGE = f"The result is too large: exact numbers may have {MAX_DIGITS} digits, inexact ones reach 1e308"


def bounded(value: Value) -> Value:
    """The value itself; CalculationError when it is beyond the bounds."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise CalculationError(_TOO_LARGE)
    elif max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        raise CalculationError(_TOO_LARGE)
    return value


def apply(function: Callable[..., Value | int], *values: Value) -> Value:
    """A function's value, bounded; every arithmetic fault is a CalculationError."""
    try:
        result = function(*values)
    except ZeroDivisionError:
        raise CalculationError("Division by zero") from None
    except OverflowError:
        raise CalculationError(_TOO_LARGE) from None
    except ValueError as error:
        if isinstance(error, CalculationError):
            raise
        raise CalculationError("The function has no real value for this argument") from None
    return bounded(Fraction(result) if isinstance(result, int) else result)


def _power(base: Value, exponent: Value) -> Value:
    if isinstance(exponent, Fraction) and exponent.denominator == _SQUARE:
        return _power(_sqrt(base), Fraction(exponent.numerator))
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length()) - 1
        if bits * abs(exponent) > _MAX_BITS:
            raise CalculationError(_TOO_LARGE)
        result: Fraction = base**exponent.numerator
        return result
    if base < 0 and not float(exponent).is_integer():
        raise CalculationError("A negative number to a fractional power has no real value")
    return math.pow(base, exponent)


def _sqrt(x: Value) -> Value:
    if x < 0:
        raise CalculationError("The square root of a negative number is not real")
    if isinstance(x, Fraction):
        root = Fraction(math.isqrt(x.numerator), math.isqrt(x.denominator))
        if root * root == x:
            return root
    return math.sqrt(x)


def _absolute(x: Value) -> Value:
    return -x if x < 0 else x


def _whole(value: Value) -> int:
    if isinstance(value, float) or value.denominator != 1:
        raise CalculationError("This function takes whole numbers here")
    return value.numerator


def _round(x: Value, places: Value = Fraction(0)) -> Value:
    digits = _whole(places)
    if abs(digits) > _MAX_PLACES:
        raise CalculationError(f"Round to at most {_MAX_PLACES} places")
    scale = Fraction(10) ** digits
    size: Fraction = math.floor(abs(Fraction(x)) * scale + Fraction(1, 2)) / scale
    return _like(x, -size if x < 0 else size)


def _like(x: Value, value: Fraction | int) -> Value:
    return float(value) if isinstance(x, float) else Fraction(value)


def _factorial(n: Value) -> int:
    count = _whole(n)
    if count > MAX_DIGITS:
        raise CalculationError(_TOO_LARGE)
    return math.factorial(count)


def _log(x: Value, base: Value) -> float:
    return math.log(x) / math.log(base)


def _trigonometric(function: Callable[[float], float]) -> Callable[[Value], float]:
    def rounded(x: Value) -> float:
        value = function(float(x))
        # The float next to a multiple of pi stands for the multiple itself: sin(pi) is 0, not 1.2e-16.
        return 0.0 if abs(value) < _NOISE < abs(float(x)) else value

    return rounded


def _of_float(function: Callable[[float], float]) -> Callable[[Value], float]:
    def applied(x: Value) -> float:
        return function(float(x))

    return applied


def _all_whole(function: Callable[..., int]) -> Callable[..., int]:
    def applied(*values: Value) -> int:
        return function(*map(_whole, values))

    return applied


def _floor(x: Value) -> Value:
    return _like(x, math.floor(x))


def _ceil(x: Value) -> Value:
    return _like(x, math.ceil(x))


def _largest(first: Value, *others: Value) -> Value:
    return max(first, *others) if others else first


def _smallest(first: Value, *others: Value) -> Value:
    return min(first, *others) if others else first


def _bound(function: Callable[..., Value | int]) -> Callable[..., Value]:
    return functools.update_wrapper(functools.partial(apply, function), function)


CONSTANTS = {"pi": math.pi, "e": math.e}
UNARY: dict[type[ast.unaryop], Callable[..., Value]] = {
    ast.UAdd: _bound(operator.pos),
    ast.USub: _bound(operator.neg),
}
BINARY: dict[type[ast.operator], Callable[..., Value]] = {
    ast.Add: _bound(operator.add),
    ast.Sub: _bound(operator.sub),
    ast.Mult: _bound(operator.mul),
    ast.Div: _bound(operator.truediv),
    ast.FloorDiv: _bound(operator.floordiv),
    ast.Mod: _bound(operator.mod),
    ast.Pow: _bound(_power),
}
_UNBOUND: dict[str, Callable[..., Value | int]] = {
    "abs": _absolute,
    "acos": _of_float(math.acos),
    "asin": _of_float(math.asin),
    "atan": _of_float(math.atan),
    "ceil": _ceil,
    "cos": _trigonometric(math.cos),
    "exp": _of_float(math.exp),
    "factorial": _factorial,
    "floor": _floor,
    "gcd": _all_whole(math.gcd),
    "lcm": _all_whole(math.lcm),
    "ln": _of_float(math.log),
    "log": _log,
    "log10": _of_float(math.log10),
    "max": _largest,
    "min": _smallest,
    "round": _round,
    "sin": _trigonometric(math.sin),
    "sqrt": _sqrt,
    "tan": _trigonometric(math.tan),
}
FUNCTIONS = {name: _bound(function) for name, function in _UNBOUND.items()}
