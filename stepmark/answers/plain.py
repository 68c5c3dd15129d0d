r"""Plain numbers: reading them exactly and comparing them, without any computer algebra.

A plain number is an integer (with or without thousands commas), a decimal, a fraction `a/b` or
`\frac{a}{b}`, a mixed number, `1.5e3`, a repeating decimal, a number in words or with `million` behind it;
with a currency sign, a percent sign, a unit or a name (`x = 5`) around it. Everything else is left to others.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from .comparison import Comparison
from .tidy import tidy_answer
from .units import Unit, read_unit
from .words import SCALES, read_number_words

MAX_PLAIN_CHARS = 200
"""Longer texts are not read as plain numbers; Python's own conversion of digits grows with their square."""
MAX_E_EXPONENT = 300
"""Largest power of ten in `1e300`, the range of a double."""
MIN_ROUNDED_DECIMALS = 6
"""From so many decimals on, a decimal may stand for a number that it only rounds (0.333333 for 1/3)."""

_CURRENCY = r"[$€£¥]"
_SCALES = {word: factor for word, factor in SCALES.items() if word != "dozen"}
"""A dozen is left out: `2 dozen eggs` answers both `how many dozen` with 2 and `how many eggs` with 24."""
_NUMBER = r"(?:[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d{0,2}(?:[ ]\d{3})+|\d+)(?:\.\d*)?|\.\d+"
_SIMPLE = re.compile(r"(-?)([1-9]\d{0,2}(?:,\d{3})+|\d+)(?:\.(\d+))?", re.ASCII)
"""What nearly all answers look like; read without a look at anything else."""
_FULL = re.compile(
    rf"""
    (?:(?P<name>[A-Za-z](?:_\w|_\{{\w+\}})?)\s*=\s*)?
    (?P<sign>[-+])?\s*(?P<currency>{_CURRENCY})?\s*(?P<sign2>[-+])?\s*
    (?:
        (?:(?P<whole>\d+)\s*)?\\frac\s*(?:\{{\s*(?P<top>-?(?:{_NUMBER}))\s*\}}|(?P<top1>\d))\s*
            (?:\{{\s*(?P<bottom>{_NUMBER})\s*\}}|(?P<bottom1>\d))
      | (?P<mixed>\d+)\s+(?P<mixed_top>\d+)/(?P<mixed_bottom>\d+)
      | (?P<over>{_NUMBER})\s*/\s*(?P<under>{_NUMBER})
      | (?P<before>\d*\.\d*)\\overline\s*\{{\s*(?P<repeated>\d+)\s*\}}
      | (?P<number>{_NUMBER})(?:[eE](?P<exponent>[-+]?\d{{1,3}}))?
    )
    (?P<scale>\s+(?:{"|".join(_SCALES)}))?
    (?P<currency2>\s*{_CURRENCY})?
    (?P<percent>\s*(?:%|(?:percent|percentage|pct)(?![a-zA-Z])|\\text\s*\{{\s*percent\s*\}}))?
    (?P<rest>.*)
    """,
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_TEXT_UNIT = re.compile(r"\\(?:text|mathrm|textrm|mbox)\s*\{\s*([^{}]*?)\s*\}\s*(?:\^\s*(?:\{\s*(\d)\s*\}|(\d)))?")
_DEGREE = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|°")
_WORDS = re.compile(r"[A-Za-z][A-Za-z'.-]*(?:[ /][A-Za-z][A-Za-z'.-]*){0,7}(?:\^\{?[23]\}?)?|¢", re.ASCII)
NOT_A_UNIT = re.compile(
    r"(?:and|or|to|plus|minus|pi|sqrt|root|over|divided|less|more|percent|percentage|pct|log|ln|sin|cos|tan|exp"
    r"|mod|if|when|where|is|are|not|[iexyz]|dozen|hundred|thousand|million|billion|trillion)[.,]?"
)


@dataclass(frozen=True, slots=True)
class PlainNumber:
    """A number, read exactly, with what stood around it."""

    value: Fraction
    """The number before its unit or percent sign is applied."""
    decimals: int | None = None
    """Digits behind the decimal point; None for integers and fractions, which are exact."""
    is_percent: bool = False
    """Whether a percent sign or word followed."""
    unit: Unit | None = None
    """The unit, if it is a known one."""
    name: str | None = None
    """The variable in front, as in `x = 5`."""


def read_plain(text: str) -> PlainNumber | None:
    r"""Reads a plain number; None where the text is anything else, such as a division by zero.

    >>> read_plain("$1,234.50")
    PlainNumber(value=Fraction(2469, 2), decimals=2, is_percent=False, unit=Unit(dimension=(('us_money', 1),), factor=Fraction(1, 1)), name=None)
    >>> read_plain("1\\frac{1}{2}").value, read_plain("-3/4").value, read_plain("2.5 million").value
    (Fraction(3, 2), Fraction(-3, 4), Fraction(2500000, 1))
    >>> read_plain("0.1\\overline{6}").value
    Fraction(1, 6)
    >>> read_plain("4t"), read_plain("1/0"), read_plain("(1, 2)")
    (None, None, None)
    """  # noqa: E501
    return _read_plain(text) if len(text) <= MAX_PLAIN_CHARS else None


@lru_cache(maxsize=1 << 16)
def _read_plain(text: str) -> PlainNumber | None:
    simple = _SIMPLE.fullmatch(text)
    if simple is not None:
        sign, integer, digits = simple.groups()
        return PlainNumber(*_read_decimal(f"{sign}{integer}.{digits}" if digits else sign + integer))
    text = tidy_answer(text)
    match = _FULL.fullmatch(text)
    if match is None:
        words = read_number_words(text)
        return None if words is None else PlainNumber(Fraction(words))
    group = match.groupdict()
    if (group["sign"] and group["sign2"]) or (group["currency"] and group["currency2"]):
        return None
    value, decimals = _read_value(group)
    if value is None:
        return None
    if "-" in (group["sign"], group["sign2"]):
        value = -value
    if group["scale"]:
        value, decimals = value * _SCALES[group["scale"].strip()], None
    is_unit, unit = _read_rest(group["rest"])
    if not is_unit or (group["percent"] and unit is not None):
        return None
    currency = group["currency"] or group["currency2"]
    if currency:
        unit = read_unit(currency.strip())
    return PlainNumber(value, decimals, bool(group["percent"]), unit, group["name"])


def compare_plain(found: PlainNumber, reference: PlainNumber) -> Comparison:
    """Compares two plain numbers.

    Exact, with one exception: a decimal of six or more digits may round the other side (0.333333 = 1/3,
    17.999999999999996 = 18). A percent sign on one side only never compares equal. Where the numbers fit (50
    and 50 %, 0.5 and 50 %) the result is unknown, as only the question tells whether percent was asked for;
    else it is a plain difference.

    >>> compare_plain(read_plain("1/2"), read_plain("0.50"))
    Comparison(result='correct', rule='number')
    >>> compare_plain(read_plain("0.33"), read_plain("1/3")).result
    'incorrect'
    >>> compare_plain(read_plain("50%"), read_plain("50"))
    Comparison(result='unparsable', rule='percent_unclear')
    """
    if found.name is not None and reference.name is not None and found.name != reference.name:
        return Comparison("incorrect", "name_differs")
    if found.is_percent != reference.is_percent:
        number, percent = sorted((found, reference), key=lambda each: each.is_percent)
        is_unclear = number.value in (percent.value, percent.value / 100)
        return (
            Comparison("unparsable", "percent_unclear") if is_unclear else Comparison("incorrect", "percent_differs")
        )
    a, b = found.value, reference.value
    if found.unit is not None and reference.unit is not None and found.unit != reference.unit:
        if found.unit.dimension != reference.unit.dimension:
            return Comparison("incorrect", "unit_differs")
        a, b = a * found.unit.factor, b * reference.unit.factor
    if a == b:
        return Comparison("correct", "number")
    if _rounds(a, b, found.decimals, reference.decimals):
        return Comparison("correct", "number_rounded")
    return Comparison("incorrect", "number")


def _rounds(a: Fraction, b: Fraction, decimals_a: int | None, decimals_b: int | None) -> bool:
    given = [decimals for decimals in (decimals_a, decimals_b) if decimals is not None]
    if not given or min(given) < MIN_ROUNDED_DECIMALS:
        return False
    difference = abs(a - b)
    # Nine digits are enough to tell answers apart and forgive the noise of a double in the sixteenth.
    return difference * 10 ** min(min(given), 9) < 1 and difference * 10**5 <= max(abs(a), abs(b))


def _read_value(group: dict[str, str | None]) -> tuple[Fraction | None, int | None]:
    """The number itself, unsigned but for a sign inside a fraction; None where it divides by zero."""
    if group["number"] is not None:
        value, decimals = _read_decimal(group["number"])
        exponent = int(group["exponent"] or 0)
        if abs(exponent) > MAX_E_EXPONENT:
            return None, None
        return (value, decimals) if exponent == 0 else (value * Fraction(10) ** exponent, None)
    if group["before"] is not None:
        integer, _, fixed = group["before"].partition(".")
        repeated = group["repeated"] or "0"
        whole_digits, all_digits = int(integer + fixed or "0"), int(integer + fixed + repeated)
        return Fraction(all_digits - whole_digits, 10 ** len(fixed) * (10 ** len(repeated) - 1)), None
    whole = group["whole"] or group["mixed"]
    top = group["top"] or group["top1"] or group["mixed_top"] or group["over"]
    bottom = group["bottom"] or group["bottom1"] or group["mixed_bottom"] or group["under"]
    assert top is not None
    assert bottom is not None
    denominator = _read_decimal(bottom)[0]
    if denominator == 0 or (whole and top.startswith("-")):
        return None, None
    part = _read_decimal(top)[0] / denominator
    return (part, None) if whole is None else (int(whole) + part, None)


def _read_decimal(text: str) -> tuple[Fraction, int | None]:
    negative = text.startswith("-")
    integer, _, decimals = text.lstrip("-").replace(",", "").replace(" ", "").partition(".")
    value = Fraction(int(integer + decimals or "0"), 10 ** len(decimals)) if decimals else Fraction(int(integer))
    return -value if negative else value, len(decimals) or None


def _read_rest(rest: str) -> tuple[bool, Unit | None]:
    """Tells whether what follows a number is a unit or a counted thing, and which unit if it is known."""
    bare = rest.strip()
    if not bare:
        return True, None
    if _DEGREE.fullmatch(bare):
        return True, read_unit("degree")
    in_text = _TEXT_UNIT.fullmatch(bare)
    if in_text:
        power = in_text.group(2) or in_text.group(3)
        bare = in_text.group(1) + (f"^{power}" if power else "")
    if not _WORDS.fullmatch(bare):
        return False, None
    words = re.split(r"[ /]", bare.lower())
    if any(NOT_A_UNIT.fullmatch(word) for word in words):
        return False, None
    unit = read_unit(bare)
    apart = in_text is not None or rest[0].isspace()
    if unit is not None:
        # `5m` and `3g` may be algebra, `5 m` and `5cm` are not.
        return apart or len(bare) > 1, unit
    return apart and len(words[0]) >= 3, None
