"""Carrying a chain of equations over to a variant by program: a critic that is exact and needs no model.

Each operand of each equation is bound to where its value comes from: a number of the problem's text, an earlier
result, or a constant that a word of the problem stands for (`half` for 2). The equations are then worked out anew,
with the variant's number in the place of the problem's. A rule that does not generalise reaches another answer than
the variant's own.

An operand that may come from two places which differ on the variant, or from none, ends the attempt: a wrong binding
would raise a false alarm. So does any equals sign that is not part of arithmetic that can be read.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, TypeAlias

from .answers.words import NUMBER_WORDS, read_number_words
from .verdicts import CarriedStep, Verdict

Operator = Literal["+", "-", "*", "/"]


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is written."""

    value: Fraction
    is_percent: bool = False
    n_decimals: int = 0


@dataclass(frozen=True, slots=True)
class Operation:
    """Two sides and an operator."""

    operator: Operator
    left: "Expression"
    right: "Expression"


Expression: TypeAlias = Number | Operation


@dataclass(frozen=True, slots=True)
class Equation:
    """Arithmetic, and the number that it is said to come to."""

    left: Operation
    result: Number


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of carrying a chain over."""

    carried: tuple[CarriedStep, ...] = ()
    """The steps with equations, as they read on the variant, as far as they could be carried."""
    answer: str | None = None
    """What the chain reaches on the variant; None where it could not be carried to its end."""
    wrong_step: int | None = None
    """0-based step whose arithmetic is wrong as the solution has it; nothing is carried past it."""
    reason: str | None = None
    """Why the chain cannot be carried without guessing; None where it was, or stopped at a wrong step."""


_IMPLIED: tuple[tuple[int, str], ...] = (
    (1, r"%|percent|fraction|half|thirds?|quarters?"),
    (2, r"half|halve[sd]?|twice|doubl(?:e[sd]?|ing)|both|pairs?|couples?|each other"),
    (3, r"thirds?|tripl(?:e[sd]?|ing)|thrice"),
    (4, r"quarters?|quadruple[sd]?"),
    (5, r"fifths?"),
    (7, r"weeks?|weekly|daily"),
    (10, r"tenths?|dimes?|decades?"),
    (12, r"years?|yearly|annual(?:ly)?|months?|monthly|dozens?|feet|foot|inch(?:es)?"),
    (24, r"days?|daily|hours?|hourly"),
    (30, r"months?|monthly"),
    (52, r"weeks?|weekly|years?|yearly|annual(?:ly)?"),
    (60, r"minutes?|hours?|hourly|seconds?"),
    (100, r"%|percent|cents?|meters?|metres?|centimeters?|centimetres?"),
    (365, r"days?|daily|years?|yearly"),
    (1000, r"kilo\w*|grams?|meters?|metres?|milli\w*"),
)
"""Constants, and the words of a problem that bring them in without naming them."""
_DIGITS = r"[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?|\.[0-9]+"
_IN_TEXT = re.compile(rf"(?P<digits>{_DIGITS})|(?P<words>{NUMBER_WORDS.pattern})", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")
_NOTE = re.compile(r"<<([^<>=]+=[^<>=]+)>>")
_SIGNS = str.maketrans({"×": "*", "·": "*", "⋅": "*", "÷": "/", "−": "-", "–": "-", "$": " ", "€": " ", "£": " "})
_LATEX = ((r"\times", "*"), (r"\cdot", "*"), (r"\div", "/"), (r"\$", " "), (r"\%", "%"), (r"\(", " "), (r"\)", " "))
_TIMES = re.compile(r"(?<=[0-9)%])\s*[xX]\s*(?=[0-9(.])")
_UNIT = re.compile(r"(?<=[0-9%)])\s*[A-Za-z]+(?:\s[A-Za-z]+)?(?=\s*[-+*/=)])")
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
_EQUALITY = re.compile(
    r"(?P<left>[-+*/().%0-9\s]*)=\s*(?P<result>-?(?:[0-9]++(?:\.[0-9]++)?+|\.[0-9]++)(?:\s*%)?+)(?!\s*[-+*/(]\s*[0-9(.])"
)
_TOKEN = re.compile(r"\s*(?:((?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*%?)|([-+*/()]))")
_ANSWER = re.compile(rf"[^\w.-]*(-?)\s*\$?\s*({_DIGITS})\s*%?(?:\s*[A-Za-z ]{{0,40}})?[^\w]*")
_MAX_CHARS = 2_000
"""Longer steps are not read: arithmetic in words is short."""
_MAX_DIGITS = 15


def read_equations(step: str) -> tuple[Equation, ...] | None:
    """Reads the equations of a step; None where an equals sign is part of something else.

    Annotations `<<16-3=13>>` stand for the step where there are any. Currency signs, and units behind a number, are
    passed over.

    >>> [str(equation.result.value) for equation in read_equations("She has 16 eggs - 3 eggs = 13 eggs")]
    ['13']
    >>> read_equations("So there are 13 eggs."), read_equations("x = 13")
    ((), None)
    """
    if len(step) > _MAX_CHARS:
        return None
    notes = _NOTE.findall(step)
    equations: list[Equation] = []
    for text in notes or [step]:
        plain = _plain(text)
        found = [equation for match in _EQUALITY.finditer(plain) if (equation := _equation(match)) is not None]
        if len(found) != plain.count("="):
            return None
        equations += found
    return tuple(equations)


def evaluate(expression: Expression) -> Fraction | None:
    """Works an expression out; None where it divides by zero.

    >>> str(evaluate(read_equations("(16 - 3) * 2 = 26")[0].left))
    '26'
    """
    if isinstance(expression, Number):
        return expression.value / 100 if expression.is_percent else expression.value
    left, right = evaluate(expression.left), evaluate(expression.right)
    return None if left is None or right is None else _apply(expression.operator, left, right)


def is_true(equation: Equation) -> bool:
    """Whether an equation holds; a result with decimals may be rounded, or cut, at its last one.

    >>> [is_true(read_equations(text)[0]) for text in ("9 + 7 = 16", "9 + 7 = 15", "10 / 3 = 3.33", "10 / 3 = 3")]
    [True, False, True, False]
    """
    value = evaluate(equation.left)
    if value is None:
        return False
    result = equation.result
    stated = [result.value / 100] if result.is_percent else [result.value]
    if result.is_percent and result.value == value:
        stated.append(value)  # `20 * 5 = 100%`
    slack = Fraction(1, 10**result.n_decimals) if result.n_decimals else Fraction(0)
    return any(value == one or abs(value - one) < slack for one in stated)


def replay(statement: str, steps: Sequence[str], answer: str | None, variant: str) -> Replay:
    """Carries a solution's steps over from its problem to a variant of it.

    Args:
        statement: The problem.
        steps: Bare steps; those without an equals sign are passed over.
        answer: The solution's final answer, which must be the last result.
        variant: Another problem, with the same numbers of numbers in the same places.

    >>> found = replay("A 5 by 5 square: its area?", ["5 * 5 = 25"], "25", "A 4 by 10 square: its area?")
    >>> found.reason
    'ambiguous operand'
    >>> problem, other = "Mia has 9 nuts. She finds 7 nuts. How many?", "Ann has 3 nuts. She finds 8 nuts. How many?"
    >>> found = replay(problem, ["9 + 7 = 16"], "16", other)
    >>> found.answer, found.carried[0].text
    ('11', '3 + 8 = 11')
    >>> replay(problem, ["9 + 7 = 15"], "15", other).wrong_step
    0
    """
    here, there = _numbers(statement), _numbers(variant)
    if len(here) != len(there):
        return Replay(reason="another number of numbers in the variant")
    if not all(_same_place(one, other) for one, other in zip(here, there, strict=True)):
        return Replay(reason="other words around the numbers of the variant")
    chain = _Chain(statement, [(one.value, other.value) for one, other in zip(here, there, strict=True)])
    last: Number | None = None
    try:
        for index, step in enumerate(steps):
            equations = read_equations(step)
            if equations is None:
                return Replay(tuple(chain.carried), reason="an equation that cannot be read")
            texts = []
            for equation in equations:
                if not is_true(equation):
                    return Replay(tuple(chain.carried), wrong_step=index)
                texts.append(chain.carry(equation))
                last = equation.result
            if texts:
                chain.carried.append(CarriedStep(index, "; ".join(texts), written(chain.results[-1][1])))
    except _CannotCarryError as err:
        return Replay(tuple(chain.carried), reason=str(err))
    if last is None:
        return Replay(reason="no equation")
    final = _read_answer(answer)
    if final is None:
        return Replay(tuple(chain.carried), reason="no answer that is a number")
    if final != last.value:
        return Replay(tuple(chain.carried), reason="an answer that is not the last result")
    return Replay(tuple(chain.carried), written(chain.results[-1][1]))


def verdict_of(found: Replay, *, is_reached: bool | None) -> Verdict:
    """What a replay says of the solution.

    Args:
        found: The replay.
        is_reached: Whether its answer is the variant's own; None where it has none, or nobody can tell.

    >>> verdict_of(Replay(answer="11"), is_reached=False), verdict_of(Replay(reason="no equation"), is_reached=None)
    (Verdict(word='fail', first_error=None, reason=None), Verdict(word='unreadable', first_error=None, reason='no equation'))
    """  # noqa: E501
    reason = found.reason
    if found.answer is not None and is_reached is None:
        reason = "an answer that cannot be compared"
    if reason is not None:
        return Verdict("unreadable", found.wrong_step, reason)
    return Verdict("pass" if is_reached else "fail", found.wrong_step)


def written(value: Fraction) -> str:
    """Writes a number: whole, as a decimal where it ends, else as a fraction.

    >>> written(Fraction(14)), written(Fraction(15, 2)), written(Fraction(-1, 3))
    ('14', '7.5', '-1/3')
    """
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    digits = 0
    while (value * 10**digits).denominator != 1:
        digits += 1
    whole = str(abs(value.numerator * 10**digits // value.denominator)).rjust(digits + 1, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{whole[:-digits]}.{whole[-digits:]}" if digits else f"{sign}{whole}"


# ---------------------------------------------------------------- binding


class _CannotCarryError(Exception):
    """The chain cannot be carried further without guessing; says why."""


@dataclass(slots=True)
class _Chain:
    """A chain on its way over: where values come from, here and on the variant."""

    statement: str
    numbers: Sequence[tuple[Fraction, Fraction]]
    """Of the problem, each with the variant's in its place."""
    results: list[tuple[Fraction, Fraction]] = field(default_factory=list)
    """Of the equations so far, as the solution has them and as they are on the variant."""
    carried: list[CarriedStep] = field(default_factory=list)

    def carry(self, equation: Equation) -> str:
        """Works an equation out on the variant, and returns how it reads there."""
        moved = self._move(equation.left)
        value = evaluate(moved)
        if value is None:
            raise _CannotCarryError("division by zero on the variant")
        stated = equation.result.value
        if equation.result.is_percent and evaluate(equation.left) == stated / 100:
            value *= 100
        self.results.append((stated, value))
        return f"{_shown(moved)} = {written(value)}"

    def _move(self, expression: Expression) -> Expression:
        if isinstance(expression, Operation):
            return Operation(expression.operator, self._move(expression.left), self._move(expression.right))
        return Number(self._bind(expression.value), expression.is_percent)

    def _bind(self, value: Fraction) -> Fraction:
        places = {other for one, other in (*self.numbers, *self.results) if one == value}
        if _is_implied(value, self.statement):
            places.add(value)
        if len(places) > 1:
            raise _CannotCarryError("ambiguous operand")
        if not places:
            raise _CannotCarryError("operand from nowhere")
        return places.pop()


def _is_implied(value: Fraction, statement: str) -> bool:
    return any(
        value == constant and re.search(rf"(?<![^\W_])(?:{words})(?![^\W_])", statement, re.IGNORECASE) is not None
        for constant, words in _IMPLIED
    )


@dataclass(frozen=True, slots=True)
class _Placed:
    """A number of a problem's text, with the words around it."""

    value: Fraction
    before: str
    after: str


def _numbers(statement: str) -> list[_Placed]:
    found = []
    for match in _IN_TEXT.finditer(statement):
        digits = match["digits"]
        value = read_number_words(match["words"]) if digits is None else _fraction(digits)
        if value is not None:
            before, after = statement[: match.start()].rsplit(None, 4)[-3:], statement[match.end() :].split(None, 3)
            found.append(_Placed(Fraction(value), _nearest(reversed(before)), _nearest(after)))
    return found


def _nearest(pieces: Sequence[str] | Iterator[str]) -> str:
    """The nearest word that is no number, in one spelling for one thing and many."""
    for piece in pieces:
        word = _WORD.search(piece)
        if word is not None and not NUMBER_WORDS.fullmatch(word[0]):
            return word[0].casefold().removesuffix("s")
    return ""


def _same_place(one: _Placed, other: _Placed) -> bool:
    return one.before == other.before or one.after == other.after


# ---------------------------------------------------------------- reading


def _plain(text: str) -> str:
    for command, sign in _LATEX:
        text = text.replace(command, sign)
    text = _THOUSANDS.sub("", text.translate(_SIGNS))
    return _UNIT.sub("", _TIMES.sub(" * ", text))


def _equation(match: re.Match[str]) -> Equation | None:
    """The longest arithmetic that ends at the equals sign; None where there is none."""
    tokens = _tokens(match["left"])
    if tokens is None:
        return None
    for start in range(len(tokens)):
        if start and not isinstance(tokens[start - 1], Number):
            continue  # what is left of it would be cut off from an operator
        expression = _Reader(tokens[start:]).whole()
        if isinstance(expression, Operation):
            result = _number(match["result"])
            return None if result is None else Equation(expression, result)
    return None


def _tokens(text: str) -> list[Number | str] | None:
    tokens: list[Number | str] = []
    position, text = 0, text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            position += 1  # a full stop before the arithmetic
            tokens.clear()
            continue
        number = None if match[1] is None else _number(match[1])
        if match[1] is not None and number is None:
            return None
        tokens.append(match[2] if number is None else number)
        position = match.end()
    return tokens


def _number(text: str) -> Number | None:
    bare = text.strip().removesuffix("%").strip()
    if sum(char.isdigit() for char in bare) > _MAX_DIGITS:
        return None
    return Number(_fraction(bare), text.strip().endswith("%"), len(bare.partition(".")[2]))


def _fraction(text: str) -> Fraction:
    return Fraction(text.replace(",", "")[: _MAX_DIGITS * 2])


class _Reader:
    """Reads a sum of products, with brackets and signs."""

    def __init__(self, tokens: Sequence[Number | str]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def whole(self) -> Expression | None:
        """The expression that all tokens are; None where they are none."""
        found = self._sum()
        return found if self._at == len(self._tokens) else None

    def _next(self) -> Number | str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _sum(self) -> Expression | None:
        return self._chain(("+", "-"), self._product)

    def _product(self) -> Expression | None:
        return self._chain(("*", "/"), self._atom)

    def _chain(self, operators: tuple[Operator, ...], part: Callable[[], Expression | None]) -> Expression | None:
        left = part()
        while left is not None and (sign := self._next()) in operators:
            self._at += 1
            right = part()
            if right is None:
                return None
            left = Operation(sign, left, right)
        return left

    def _atom(self) -> Expression | None:
        token = self._next()
        if token is None:
            return None
        self._at += 1
        if isinstance(token, Number):
            return token
        if token != "(" or self._depth == 20:
            return None
        self._depth += 1
        inside = self._sum()
        self._depth -= 1
        if self._next() != ")":
            return None
        self._at += 1
        return inside


def _apply(operator: Operator, left: Fraction, right: Fraction) -> Fraction | None:
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    return None if right == 0 else left / right


def _shown(expression: Expression, inside: Operator | None = None) -> str:
    if isinstance(expression, Number):
        text = written(expression.value) + ("%" if expression.is_percent else "")
        return f"({text})" if inside and ("/" in text or text.startswith("-")) else text
    text = f"{_shown(expression.left, expression.operator)} {expression.operator} "
    right = _shown(expression.right, expression.operator)
    if isinstance(expression.right, Operation) and not right.startswith("("):
        right = f"({right})"
    text += right
    is_weaker = inside in ("*", "/") and expression.operator in ("+", "-")
    return f"({text})" if is_weaker else text


def _read_answer(answer: str | None) -> Fraction | None:
    match = None if answer is None else _ANSWER.fullmatch(answer)
    if match is None or len(match[2]) > _MAX_DIGITS:
        return None
    value = _fraction(match[2])
    return -value if match[1] else value
