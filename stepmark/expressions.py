"""Arithmetic written as text by others: parsed, held to strict limits, and worked out exactly.

What is allowed is listed here; all else is refused before anything is worked out. Python's own evaluation is never
used: a text can do nothing but arithmetic, in little time and memory.
"""

import ast
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias

from .errors import InputError

MAX_CHARS = 500
MAX_NODES = 200
MAX_BITS = 256
"""Of a numerator or denominator, also of every number on the way."""
MAX_EXPONENT = 64

Value: TypeAlias = Fraction | bool
_Kind = Literal["number", "truth"]

_ALLOWED = re.compile(r"[A-Za-z0-9_+\-*/%().,<>=! \t]+")
_DIGITS_AND_LETTERS = re.compile(r"(?<![A-Za-z0-9_.])[0-9.]+[A-Za-z_]")
_ARITHMETIC: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
    ast.Mod: lambda a, b: a % b,
    ast.Pow: lambda a, b: _power(a, b),
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Fraction, Fraction], bool]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
}
_FUNCTIONS: dict[str, tuple[range, Callable[..., Fraction | int]]] = {
    "abs": (range(1, 2), abs),
    "ceil": (range(1, 2), math.ceil),
    "floor": (range(1, 2), math.floor),
    "gcd": (range(2, 9), lambda *values: math.gcd(*map(_whole, values))),
    "lcm": (range(2, 9), lambda *values: math.lcm(*map(_whole, values))),
    "max": (range(2, 9), max),
    "min": (range(2, 9), min),
    "round": (range(1, 3), lambda value, digits=Fraction(0): round(value, _between(digits, -20, 20))),
}
"""By name: how many arguments it takes, and what it does. `round` takes a half to the even side, as Python does."""
FUNCTIONS = tuple(sorted(_FUNCTIONS))


class _NoValueError(Exception):
    """The numbers have no result, or one that is too large."""


@dataclass(frozen=True, slots=True)
class Expression:
    """Arithmetic over named numbers, checked."""

    text: str
    kind: _Kind
    """`number`, or `truth` for a condition."""
    names: frozenset[str]
    """The variables that stand in it."""
    _tree: ast.expr

    def value(self, values: Mapping[str, Fraction]) -> Value | None:
        """Works it out; None where there is no value: a division by zero, or a number beyond the limits.

        >>> half = parse_expression("n / 2", names=["n"])
        >>> half.value({"n": Fraction(7)}), parse_expression("1 / n", names=["n"]).value({"n": Fraction(0)})
        (Fraction(7, 2), None)
        """
        try:
            return _work_out(self._tree, values)
        except (_NoValueError, ZeroDivisionError):
            return None


def parse_expression(text: str, *, names: Collection[str]) -> Expression:
    """Reads arithmetic: numbers, variables, `+ - * / // % **`, comparisons, `and or not`, and `FUNCTIONS`.

    Args:
        text: As it was written.
        names: The variables that may stand in it.

    Raises:
        InputError: It is too long, or holds anything else.

    >>> parse_expression("n % 2 == 0 and gcd(n, k) > 1", names=["n", "k"]).value({"n": Fraction(4), "k": Fraction(6)})
    True
    >>> parse_expression("__import__('os')", names=[])
    Traceback (most recent call last):
    stepmark.errors.InputError: the expression "__import__('os')" holds "'"; it may hold only arithmetic
    """
    shown = text if len(text) <= 80 else text[:77] + "..."
    if len(text) > MAX_CHARS:
        raise InputError(f"the expression {shown!r} has {len(text)} characters; at most {MAX_CHARS} are taken")
    strange = _ALLOWED.sub("", text)
    if strange:
        raise InputError(f"the expression {shown!r} holds {strange[0]!r}; it may hold only arithmetic")
    run_together = _DIGITS_AND_LETTERS.search(text)
    if run_together is not None:
        raise InputError(f"the expression {shown!r} holds {run_together.group()!r}; write a plain number")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as err:
        raise InputError(f"the expression {shown!r} cannot be read ({err}); write it as in Python") from err
    if sum(1 for _ in ast.walk(tree)) > MAX_NODES:
        raise InputError(f"the expression {shown!r} has more than {MAX_NODES} parts; make it shorter")
    used: set[str] = set()
    try:
        kind = _check(tree, frozenset(names), used)
    except InputError as err:
        raise InputError(f"the expression {shown!r} {err}") from None
    return Expression(text, kind, frozenset(used), tree)


def _check(node: ast.expr, names: frozenset[str], used: set[str]) -> _Kind:
    """Makes sure that a node and all below it are allowed; tells its kind.

    Raises:
        InputError: Something is not; the message is the end of a sentence about the expression.
    """

    def want(child: ast.expr, kind: _Kind) -> None:
        if _check(child, names, used) != kind:
            raise InputError("mixes numbers and conditions; compare numbers, and join conditions by `and` or `or`")

    match node:
        case ast.Constant(value=bool()):
            raise InputError(f"holds {node.value!r}; it may hold only numbers")
        case ast.Constant(value=int() | float() as number):
            if not math.isfinite(number) or _is_too_large(_constant(node)):
                raise InputError("holds too large a number")
            return "number"
        case ast.Name():
            if node.id not in names:
                known = ", ".join(sorted(names)) or "none"
                raise InputError(f"names {node.id!r}, which is no variable; there are: {known}")
            used.add(node.id)
            return "number"
        case ast.BinOp(op=operator) if type(operator) in _ARITHMETIC:
            want(node.left, "number")
            want(node.right, "number")
            return "number"
        case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
            want(node.operand, "number")
            return "number"
        case ast.UnaryOp(op=ast.Not()):
            want(node.operand, "truth")
            return "truth"
        case ast.BoolOp():
            for child in node.values:
                want(child, "truth")
            return "truth"
        case ast.Compare() if all(type(operator) in _COMPARISONS for operator in node.ops):
            for child in (node.left, *node.comparators):
                want(child, "number")
            return "truth"
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _FUNCTIONS:
            if len(node.args) not in _FUNCTIONS[name][0]:
                raise InputError(f"gives {name} {len(node.args)} numbers, which is not how many it takes")
            for child in node.args:
                want(child, "number")
            return "number"
    raise InputError(
        f"holds {ast.unparse(node)[:40]!r}; it may hold only variables, numbers, + - * / // % **, comparisons, "
        f"and, or, not, {', '.join(FUNCTIONS)}"
    )


def _work_out(node: ast.expr, values: Mapping[str, Fraction]) -> Value:
    match node:
        case ast.Constant():
            return _constant(node)
        case ast.Name():
            return _limited(values[node.id])
        case ast.BinOp():
            return _limited(_ARITHMETIC[type(node.op)](_number(node.left, values), _number(node.right, values)))
        case ast.UnaryOp(op=ast.Not()):
            return not _work_out(node.operand, values)
        case ast.UnaryOp():
            number = _number(node.operand, values)
            return -number if isinstance(node.op, ast.USub) else number
        case ast.BoolOp(op=ast.And()):
            return all(_work_out(child, values) for child in node.values)
        case ast.BoolOp():
            return any(_work_out(child, values) for child in node.values)
        case ast.Compare():
            numbers = [_number(child, values) for child in (node.left, *node.comparators)]
            return all(
                _COMPARISONS[type(operator)](left, right)
                for operator, left, right in zip(node.ops, numbers, numbers[1:], strict=False)
            )
        case ast.Call(func=ast.Name(id=name)):
            return _limited(Fraction(_FUNCTIONS[name][1](*(_number(child, values) for child in node.args))))
    raise AssertionError(f"{ast.dump(node)} was not checked")


def _number(node: ast.expr, values: Mapping[str, Fraction]) -> Fraction:
    value = _work_out(node, values)
    assert isinstance(value, Fraction)
    return value


def _constant(node: ast.Constant) -> Fraction:
    # The shortest text of a float is what was written: 0.1 is a tenth.
    return Fraction(repr(node.value))


def _is_too_large(value: Fraction) -> bool:
    return max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS


def _limited(value: Fraction) -> Fraction:
    if _is_too_large(value):
        raise _NoValueError
    return value


def _whole(value: Fraction) -> int:
    if value.denominator != 1:
        raise _NoValueError
    return value.numerator


def _between(value: Fraction, least: int, most: int) -> int:
    number = _whole(value)
    if not least <= number <= most:
        raise _NoValueError
    return number


def _power(left: Fraction, right: Fraction) -> Fraction:
    exponent = _between(right, -MAX_EXPONENT, MAX_EXPONENT)
    return Fraction(left**exponent)
