r"""Reading tokens as one side of an equation: the longest arithmetic from a token on, by recursive descent.

What is read becomes the text of an expression of `stepmark.expressions`, which works it out within its limits.
"""

import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from stepmark.answers.units import read_unit
from stepmark.errors import InputError
from stepmark.expressions import MAX_CHARS, parse_expression

from .tokens import Token

Choice = Literal["percent", "mixed", "tight", "scientific"]
"""What can be read in two ways: 20 % as 20; 2 1/2 in TeX as a product; 6/2(3) as 6/(2(3)), and 1/2 / 1/4 as
(1/2)/(1/4); 6 / 2 x 10^3 as (6 / 2) x 10^3."""

OPERATOR_WORDS = {"x": "*", "X": "*", "times": "*", "plus": "+", "minus": "-"}
NOT_UNITS = re.compile(
    "and|or|is|are|was|were|be|equals?|so|then|plus|minus|times|of|to|from|than|more|less|divided|multiplied|by|if|when"
    "|where|which|that|this|gives?|gets?|we|i|you|they|it|for|with|because|since|at|in|on|as|thus|hence|therefore|but"
    "|not|yes|no|squared|cubed|percent|percentage|mod|over|choose|half",
    re.IGNORECASE,
)
"""Words that end what stands before them, where others behind a number are taken for its unit."""
SCALES = re.compile("(?:dozen|hundred|thousand|million|billion|trillion)s?", re.IGNORECASE)
UNIT_LETTERS = frozenset("mghslLkKJNVWACF")
ARTICLES = frozenset("aAIi")
MAX_UNIT_WORDS = 5
_MAX_DEPTH = 20
_MAX_SIGNS = 2
_MAX_NUMBER_CHARS = 60
_MAX_FACTORIAL = 30
_MAX_CHOSEN_FROM = 200
_MAX_POWER_OF_TEN = 60
_OPERATORS = {"\\times": "*", "\\cdot": "*", "\\ast": "*", "\\div": "/", "x": "*", "X": "*", "**": "^"}
_OPERANDS = ("number", "open", "frac", "sqrt", "binom", "name")
_GROUPING = re.compile(r"[^\d.eE+-]")
_POINTS = 4
"""At so many points two sides with letters must agree."""


@dataclass(slots=True)
class Read:
    """A side as it was read, in one of the ways in which it can be."""

    first: int
    """Its first token."""
    end: int
    """The token after its last."""
    expression: str = ""
    n_operations: int = 0
    n_decimals: int | None = None
    """Digits shown behind the point, negative where the last one counts tens; None where it is more than a number."""
    names: list[str] = field(default_factory=list)
    """The letters in it; as all that follows, some may stand there more than once."""
    choices: list[Choice] = field(default_factory=list)
    """What else it could mean."""
    doubts: list[str] = field(default_factory=list)
    """Why it is not sure to mean this."""
    units: list[str] = field(default_factory=list)

    @property
    def value(self) -> Fraction | None:
        """What it comes to; None where it has letters, no value, or one beyond the limits."""
        return None if self.names else _value(self.expression)

    def at_points(self) -> list[Fraction | None]:
        """What it comes to at a few points, each letter standing for some number that its name gives."""
        return [
            _value(self.expression, tuple((name, _number_for(name, point)) for name in sorted({*self.names})))
            for point in range(_POINTS)
        ]


def readings(tokens: Sequence[Token], read: Read) -> list[Read]:
    """A side in each way in which it can be read, the usual one first."""
    found = [read]
    for choice in sorted({*read.choices}):
        other = Reader(tokens, read.first, choice).side()
        if other is not None and other.end == read.end:
            found.append(other)
    return found


_Mark = tuple[int, int, int | None, tuple[int, int, int, int]]


class Reader:
    """Reads one side from a token on.

    Args:
        tokens: Of the whole text.
        at: The first token.
        other: What to read in the other of its two ways.
    """

    def __init__(self, tokens: Sequence[Token], at: int, other: Choice | None = None) -> None:
        self._tokens = tokens
        self._at = at
        self._other = other
        self._depth = 0
        self._read = Read(at, at)

    def side(self) -> Read | None:
        """The side that begins here; None where there is none."""
        found = self._sum()
        if found is None:
            return None
        read = self._read
        read.end, read.expression = self._at, found
        if read.n_operations:
            read.n_decimals = None
        if self._kind() in ("word", "text"):
            read.units.append(bare(self._text()))
        return read

    def first_operand(self) -> Read | None:
        """What stands before the first sign of a sum or product."""
        found = self._power()
        self._read.expression = found or ""
        return None if found is None else self._read

    # ------------------------------------------------------------ where reading stands

    def _kind(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at].kind if at < len(self._tokens) else "end"

    def _text(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at].text if at < len(self._tokens) else ""

    def _is_glued(self, ahead: int = 0) -> bool:
        """Whether no space stands before the token."""
        at = self._at + ahead
        return 0 < at < len(self._tokens) and self._tokens[at - 1].end == self._tokens[at].start

    def _operator(self) -> str | None:
        """The operator here, a sign or a word; None where there is none."""
        text, kind = self._text(), self._kind()
        if kind == "operator":
            return _OPERATORS.get(text, text)
        if text in OPERATOR_WORDS and kind in ("word", "name") and self._kind(1) in ("number", "open", "frac"):
            return None if kind == "name" and (self._is_glued() or self._is_glued(1)) else OPERATOR_WORDS[text]
        return None

    def _mark(self) -> _Mark:
        """Where reading stands, for `_back`."""
        read = self._read
        lengths = len(read.names), len(read.choices), len(read.doubts), len(read.units)
        return self._at, read.n_operations, read.n_decimals, lengths

    def _back(self, mark: _Mark) -> None:
        """Forgets what was read since."""
        read = self._read
        self._at, read.n_operations, read.n_decimals, (n_names, n_choices, n_doubts, n_units) = mark
        del read.names[n_names:], read.choices[n_choices:], read.doubts[n_doubts:], read.units[n_units:]

    # ------------------------------------------------------------ sums, products, powers

    def _sum(self) -> str | None:
        first = self._at
        left = self._product()
        is_percent = self._is_percent(first)
        while left is not None and (operator := self._operator()) in ("+", "-"):
            mark = self._mark()
            self._at += 1
            first = self._at
            right = self._product()
            if right is None:
                self._back(mark)
                break
            if self._is_percent(first) != is_percent:
                self._read.doubts.append("a percentage of something is added")
            self._read.n_operations += 1
            left = f"{left}{operator}{right}"
        return left

    def _is_percent(self, first: int) -> bool:
        return self._at > first and self._tokens[self._at - 1].kind == "percent"

    def _product(self) -> str | None:
        left = self._signed()
        is_divided = False
        while left is not None:
            mark, operator = self._mark(), self._operator()
            if operator == "/":
                if is_divided and self._is_glued() and self._is_glued(1):
                    self._read.choices.append("tight")
                self._at += 1
                right = self._divisor(is_apart=not self._is_glued())
                is_divided = True
            elif operator == "*" or (self._text() == "of" and "/" in left and self._kind(1) in ("number", "frac")):
                operator = "*"
                self._at += 1
                right = self._signed()
            elif self._is_implied():
                operator = "*"
                if not self._is_glued():
                    self._read.doubts.append("a product without a sign")
                if is_divided:
                    self._read.choices.append("tight")
                right = self._power()
            else:
                break
            if right is None:
                self._back(mark)
                break
            self._read.n_operations += 1
            left = f"{left}{operator}{right}"
        return left

    def _divisor(self, *, is_apart: bool) -> str | None:
        """What is divided by: one factor, or in a tight reading all that stand together."""
        found = self._signed()
        while found is not None and self._other == "tight":
            mark = self._mark()
            is_fraction = is_apart and self._operator() == "/" and self._is_glued() and self._is_glued(1)
            self._at += is_fraction
            right = self._power() if is_fraction or self._is_implied() else None
            if right is None:
                self._back(mark)
                break
            self._read.n_operations += 1
            found = f"({found}{'/' if is_fraction else '*'}{right})"
        return found

    def _is_implied(self) -> bool:
        r"""Whether a product without a sign goes on here: `2(3)`, `(2)(3)`, `2\frac{1}{3}`, `2x`."""
        before, kind = self._tokens[self._at - 1].kind, self._kind()
        if kind == "open":
            return before in ("number", "close", "factorial", "power") and self._text() == "("
        if kind == "name":
            is_apart = not self._is_glued() and (self._text() in UNIT_LETTERS or self._text() in ARTICLES)
            return before in ("number", "close", "name", "power") and not is_apart
        return kind in ("frac", "sqrt", "binom") and before in ("number", "close", "name")

    def _signed(self) -> str | None:
        signs = ""
        while self._kind() == "operator" and self._text() in ("+", "-"):
            signs += self._text()
            self._at += 1
        is_number = self._kind() == "number"
        found = None if len(signs) > _MAX_SIGNS else self._power()
        if found is None or not signs:
            return found
        if is_number and "**" in found:
            self._read.doubts.append("a sign before a power")
        return f"(-{found})" if signs.count("-") % 2 else found

    def _power(self) -> str | None:
        base = self._atom()
        if base is None:
            return None
        mark = self._mark()
        if self._kind() == "power":
            base = f"{base}**{'²³'.index(self._text()) + 2}"
            self._read.n_operations += 1
            self._at += 1
        elif self._operator() == "^" and self._kind() == "operator":
            self._at += 1
            exponent = self._exponent()
            if exponent is None:
                self._back(mark)
                return base
            self._read.n_operations += 1
            base = f"{base}**({exponent})"
        self._skip_unit()
        return base

    def _exponent(self) -> str | None:
        sign = "-" if self._kind() == "operator" and self._text() == "-" else ""
        self._at += len(sign)
        found = self._plain_number() if self._kind() == "number" else self._atom()
        return None if found is None else sign + found

    # ------------------------------------------------------------ numbers, letters, brackets, commands

    def _atom(self) -> str | None:
        mark, kind = self._mark(), self._kind()
        if kind == "number":
            found = self._number()
        elif kind == "name":
            found = self._name()
        elif kind == "open":
            found = self._group()
        elif kind == "frac":
            found = self._pair("({}/{})")
        elif kind == "binom":
            found = self._binomial()
        elif kind == "sqrt":
            found = self._root()
        else:
            return None
        if found is not None:
            found = self._suffixed(found)
        if found is None:
            self._back(mark)
        return found

    def _plain_number(self) -> str | None:
        text = self._text()
        if len(text) > _MAX_NUMBER_CHARS:
            return None
        self._at += 1
        if text.isdecimal():
            self._read.n_decimals = 0
            return text.lstrip("0") or "0"
        plain = _GROUPING.sub("", text).lower()
        mantissa, _, power = plain.partition("e")
        self._read.n_decimals = len(mantissa.partition(".")[2]) - int(power or 0)
        return _written(Fraction(plain))

    def _number(self) -> str | None:
        is_whole = self._text().isdecimal()
        found = self._plain_number()
        if found is None:
            return None
        if self._operator() == "*" and self._text(1) == "10" and self._text(2) in ("^", "**"):
            self._read.choices.append("scientific")
            if self._other != "scientific":
                return self._scientific(found)
        if is_whole and self._is_fraction_behind():
            over, under = int(self._text()), int(self._text(2))
            self._at += 3
            self._read.n_operations += 1
            return f"({found}+{over}/{under})"
        if is_whole and self._kind() == "frac":
            mark = self._mark()
            fraction = self._pair("({}/{})")
            if fraction is not None:
                self._read.choices.append("mixed")
                self._read.n_operations += 1
                return f"({found}{'*' if self._other == 'mixed' else '+'}{fraction})"
            self._back(mark)
        return found

    def _scientific(self, mantissa: str) -> str | None:
        """A number in powers of ten, `2.4 x 10^8`, as the one number that it is."""
        n_decimals = self._read.n_decimals
        self._at += 3
        exponent = self._exponent()
        power = None if exponent is None else _value(exponent)
        if power is None or n_decimals is None or power.denominator != 1 or abs(power) > _MAX_POWER_OF_TEN:
            return None
        self._read.n_decimals = n_decimals - int(power)
        return f"({mantissa}*{_written(Fraction(10) ** int(power))})"

    def _is_fraction_behind(self) -> bool:
        """Whether a fraction below one stands behind a whole number: `1 1/2`."""
        over, slash, under = (self._text(ahead) for ahead in range(3))
        return (
            slash == "/"
            and over.isdecimal()
            and under.isdecimal()
            and len(under) < 5
            and self._is_glued(1)
            and self._is_glued(2)
            and int(over) < int(under)
        )

    def _name(self) -> str | None:
        text = self._text()
        following = self._kind(1)
        if self._text(1) == "'" or (following == "open" and self._is_glued(1)):
            return None  # a function
        self._at += 1
        name = "v_" + re.sub(r"\W", "", text)
        self._read.names.append(name)
        self._read.n_decimals = None
        return name

    def _group(self) -> str | None:
        if self._depth == _MAX_DEPTH:
            return None
        closing = {"(": ")", "[": "]", "{": "}"}[self._text()]
        self._depth += 1
        self._at += 1
        inside = self._sum()
        self._depth -= 1
        if inside is None or self._text() != closing:
            return None
        self._at += 1
        return f"({inside})"

    def _argument(self) -> str | None:
        return self._group() if self._text() == "{" else None

    def _pair(self, form: str) -> str | None:
        r"""A command of two arguments: `\frac{1}{2}`, `\frac12`."""
        self._at += 1
        if re.fullmatch(r"\d\d", self._text()) and self._is_glued():
            over, under = self._text()[0], self._text()[1]
            self._at += 1
        else:
            first = self._argument()
            second = None if first is None else self._argument()
            if first is None or second is None:
                return None
            over, under = first, second
        self._read.n_operations += 1
        return form.format(over, under)

    def _binomial(self) -> str | None:
        both = self._pair("{}|{}")
        if both is None:
            return None
        n, k = (_value(part) for part in both.split("|"))
        if n is None or k is None or n.denominator != 1 or k.denominator != 1 or not 0 <= k <= n <= _MAX_CHOSEN_FROM:
            return None
        return str(math.comb(int(n), int(k)))

    def _root(self) -> str | None:
        """A square root that is rational; others are not read."""
        self._at += 1
        if self._kind() == "number":
            inside = self._plain_number()
        else:
            inside = self._group() if self._text() in ("(", "{") else None
        value = None if inside is None else _value(inside)
        if value is None or value < 0:
            return None
        over, under = math.isqrt(value.numerator), math.isqrt(value.denominator)
        self._read.n_operations += 1
        return _written(Fraction(over, under)) if Fraction(over, under) ** 2 == value else None

    def _suffixed(self, found: str) -> str | None:
        if self._kind() == "factorial":
            value = _value(found)
            if value is None or value.denominator != 1 or not 0 <= value <= _MAX_FACTORIAL:
                return None
            found = str(math.factorial(int(value)))
            self._at += 1
            self._read.n_operations += 1
            if self._kind() not in ("operator", "relation", "close", "open"):
                self._read.doubts.append("a factorial, or an exclamation mark")
        if self._kind() == "degree":
            self._at += 1
        if self._kind() == "percent" or self._text() in ("percent", "pct"):
            self._at += 1
            self._read.choices.append("percent")
            if self._other != "percent":
                found = f"({found}/100)"
                if self._read.n_decimals is not None:
                    self._read.n_decimals += 2
        if self._kind() == "dots":
            self._at += 1
            self._read.doubts.append("dots")
        return found

    # ------------------------------------------------------------ units

    def _skip_unit(self) -> None:
        """Passes over the unit of a number, where arithmetic goes on behind it."""
        begin, words = self._at, list[str]()
        while len(words) < MAX_UNIT_WORDS:
            kind, text = self._kind(), self._text()
            if (kind == "text" and is_unit_text(text)) or (
                kind in ("word", "name") and self._is_unit_word(text, is_first=not words)
            ):
                words.append(bare(text))
                self._at += 1
            elif text == "/" and words and self._kind(1) in ("word", "name", "text"):
                is_close = self._is_glued() and self._is_glued(1)
                if not is_close and read_unit(bare(self._text(1))) is None:
                    break
                words.append(f"per {bare(self._text(1))}")
                self._at += 2
            elif text == "^" and words and self._kind(1) == "number" and self._is_glued():
                self._at += 2
            elif kind == "power" and words:
                self._at += 1
            else:
                break
        goes_on = self._operator() is not None and (
            self._kind(1) in _OPERANDS or (self._kind(1) == "operator" and self._text(1) in "+-")
        )
        if not words or not (goes_on or self._kind() == "relation" or (self._kind() == "close" and self._depth)):
            self._at = begin
            return
        self._read.units.append(" ".join(words))
        if any(len(word) == 1 and word not in "aA" for word in words):
            self._read.doubts.append("a unit, or a variable")
        if any(SCALES.fullmatch(word) for word in words):
            self._read.doubts.append("a number in words")

    def _is_unit_word(self, text: str, *, is_first: bool) -> bool:
        if NOT_UNITS.fullmatch(text) or not text.replace("-", "").replace("'", "").isalpha():
            return False
        if self._operator() is not None:
            return False
        if is_first and self._is_glued():
            return len(text) > 1 and read_unit(text) is not None
        return len(text) > 1 or text in UNIT_LETTERS or (text in "aA" and not is_first)


# ---------------------------------------------------------------- words, and values


def bare(text: str) -> str:
    r"""The words of a token without TeX's command around them.

    >>> bare("\\text{ eggs}"), bare("eggs")
    ('eggs', 'eggs')
    """
    return text.partition("{")[2].rstrip("}").strip() if text.startswith("\\") else text


def is_unit_text(text: str) -> bool:
    """Whether words within TeX may be a unit."""
    return not any(NOT_UNITS.fullmatch(word) for word in bare(text).split())


def _written(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"({value.numerator}/{value.denominator})"


@lru_cache(maxsize=1 << 14)
def _value(expression: str, points: tuple[tuple[str, Fraction], ...] = ()) -> Fraction | None:
    """Works an expression out; None where it has no value, or one beyond the limits."""
    values = dict(points)
    if len(expression) > MAX_CHARS:
        return None
    try:
        value = parse_expression(expression, names=values).value(values)
    except InputError:
        return None
    return value if isinstance(value, Fraction) else None


def _number_for(name: str, point: int) -> Fraction:
    return Fraction(2 + zlib.crc32(f"{name}/{point}".encode()) % 59)
