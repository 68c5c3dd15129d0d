r"""Units behind a number: which of them compare, and by what factor.

A unit on one side only is ignored (`18` = `18 dollars`). Two known units must measure the same thing and are
converted (`1 hour` = `60 minutes`, `5 cm` is not `5 m`). Words that are not in the table (`eggs`) are counted
things and are ignored: solutions name them in too many ways.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

_TABLE: dict[str, tuple[str, Fraction]] = {}


def _define(dimension: str, factors: dict[str, Fraction | int]) -> None:
    for names, factor in factors.items():
        for name in names.split():
            _TABLE[name] = (dimension, Fraction(factor))


_INCH = Fraction(254, 10000)
_POUND = Fraction(45359237, 100000)
_define(
    "length",
    {
        "mm millimeter millimetre": Fraction(1, 1000),
        "cm centimeter centimetre": Fraction(1, 100),
        "m meter metre": 1,
        "km kilometer kilometre": 1000,
        "in inch": _INCH,
        "ft foot feet": 12 * _INCH,
        "yd yard": 36 * _INCH,
        "mi mile": 63360 * _INCH,
    },
)
_define("time", {"s sec second": 1, "min minute": 60, "h hr hour": 3600, "day": 86400, "week": 7 * 86400})
_define("calendar", {"month": 1, "yr year": 12})
_define("mass", {"mg": Fraction(1, 1000), "g gram": 1, "kg kilogram": 1000, "lb": _POUND, "oz ounce": _POUND / 16})
_define("volume", {"ml milliliter millilitre": Fraction(1, 1000), "l liter litre": 1})
_define("us_volume", {"cup": 1, "pint": 2, "quart": 4, "gallon": 16})
_define("us_money", {"$ dollar usd buck": 1, "¢ cent": Fraction(1, 100)})
_define("euro", {"€ euro eur": 1})
_define("sterling", {"£ gbp": 1})
_define("yen", {"¥ yen": 1})
_define("angle", {"° degree deg": 1})

_SYNONYMS = {"mph": "mile/hour", "kmh": "km/hour", "kph": "km/hour"}
_SQUARE = re.compile(r"\b(?:square|sq)\.? +(\w+)")
_CUBIC = re.compile(r"\b(?:cubic|cu)\.? +(\w+)")
_SQUARED = re.compile(r"(\w+) +squared\b")
_CUBED = re.compile(r"(\w+) +cubed\b")
_PER = re.compile(r" +per +| */ *| +an? +(?=\w+$)")
_FACTOR = re.compile(r"(\S+?)(?:\^\{?(\d)\}?)?")


@dataclass(frozen=True, slots=True)
class Unit:
    """A known unit, simple or composed."""

    dimension: tuple[tuple[str, int], ...]
    """What it measures, as sorted (base, power) pairs: `(("length", 1), ("time", -1))`."""
    factor: Fraction
    """How many of the base units one of it is."""


@lru_cache(maxsize=4096)
def read_unit(text: str) -> Unit | None:
    """Reads a unit; None where any part of it is not in the table.

    >>> read_unit("miles per hour") == read_unit("mph"), read_unit("sq. cm") == read_unit("cm^2")
    (True, True)
    >>> read_unit("cents")
    Unit(dimension=(('us_money', 1),), factor=Fraction(1, 100))
    >>> read_unit("eggs") is None
    True
    """
    text = " ".join(text.lower().split()).rstrip(".")
    text = _SYNONYMS.get(text, text)
    for pattern, exponent in ((_SQUARE, "2"), (_SQUARED, "2"), (_CUBIC, "3"), (_CUBED, "3")):
        text = pattern.sub(rf"\1^{exponent}", text)
    powers: dict[str, int] = {}
    factor = Fraction(1)
    for place, part in enumerate(_PER.split(text)):
        match = _FACTOR.fullmatch(part)
        entry = _look_up(match.group(1)) if match else None
        if match is None or entry is None:
            return None
        power = int(match.group(2) or 1) * (1 if place == 0 else -1)
        powers[entry[0]] = powers.get(entry[0], 0) + power
        factor *= entry[1] ** power
    return Unit(tuple(sorted((base, power) for base, power in powers.items() if power)), factor)


def _look_up(name: str) -> tuple[str, Fraction] | None:
    name = name.rstrip(".")
    for spelling in (name, name.removesuffix("s"), name.removesuffix("es")):
        if spelling in _TABLE:
            return _TABLE[spelling]
    return None
