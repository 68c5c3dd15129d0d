r"""Size limits that an answer must respect before Math-Verify sees it.

They stop in microseconds what would burn seconds and gigabytes in a worker (`9**9**9**9`, 100,000 nested
braces). They refuse and never judge: what is refused has the result `limit`.
"""

import re

MAX_CHARS = 1_000
MAX_DEPTH = 20
MAX_DIGITS = 100
MAX_EXPONENT = 10_000
MAX_FACTORIAL = 1_000
MAX_PARTS = 16
"""Elements of a set or list, compared pair by pair where the order is free."""

_DIGITS = re.compile(rf"\d{{{MAX_DIGITS + 1}}}")
_ATOM = r"-?\s*(?:\d[\d.]*|[a-zA-Z])"
_CHAINED_POWER = re.compile(rf"(?:\^|\*\*)\s*(?:\{{\s*{_ATOM}\s*\}}|\(\s*{_ATOM}\s*\)|{_ATOM})\s*(?:\^|\*\*)")
_LARGE_EXPONENT = re.compile(r"(?:\^|\*\*)\s*[{(]?\s*[-+]?\s*([\d,]+)")
_FACTORIAL = re.compile(r"([\d,]+)\s*[)}]*\s*!")
_BINOMIAL = re.compile(r"\\[dt]?binom\s*\{?\s*(\d+)")
_POWER = re.compile(r"\^|\*\*")
_COMMAND = re.compile(r"\\[a-zA-Z]+")


def exceeded_limit(text: str) -> str | None:
    r"""Names the limit that a text exceeds, or None.

    >>> exceeded_limit("9**9**9**9"), exceeded_limit("9^{9^{9}}"), exceeded_limit("e^{-x^2}")
    ('power_tower', 'power_tower', None)
    >>> exceeded_limit("x^2y^2 + x^ab^2"), exceeded_limit("x^{y^{z^2}}")
    (None, 'power_tower')
    >>> exceeded_limit("{" * 100_000), exceeded_limit("{" * 500), exceeded_limit("7" * 101)
    ('characters', 'nesting', 'digits')
    >>> exceeded_limit("2^{2023}"), exceeded_limit("2^{99999}"), exceeded_limit("100000!")
    (None, 'exponent', 'factorial')
    """
    if len(text) > MAX_CHARS:
        return "characters"
    if _DIGITS.search(text):
        return "digits"
    if _max_depth(text) > MAX_DEPTH:
        return "nesting"
    if any(_as_int(match.group(1)) > MAX_EXPONENT for match in _LARGE_EXPONENT.finditer(text)):
        return "exponent"
    if _has_power_tower(text):
        return "power_tower"
    for match in (*_FACTORIAL.finditer(text), *_BINOMIAL.finditer(text)):
        if _as_int(match.group(1)) > MAX_FACTORIAL:
            return "factorial"
    return None


def _as_int(digits: str) -> int:
    return int(digits.replace(",", "") or "0")


def _max_depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        if character in "{([":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "})]":
            depth -= 1
    return deepest


def _has_power_tower(text: str) -> bool:
    """A power of numbers in a power (`9^{9^9}`), or any three stacked powers."""
    if _CHAINED_POWER.search(text):
        return True
    for first in _POWER.finditer(text):
        exponent = _group_at(text, first.end())
        if exponent is None:
            continue
        inner = _POWER.search(exponent)
        if inner is None:
            continue
        has_variable = re.search(r"[a-zA-Z]", _COMMAND.sub("", exponent)) is not None
        further = _group_at(exponent, inner.end())
        if not has_variable or (further is not None and _POWER.search(further)):
            return True
    return False


def _group_at(text: str, start: int) -> str | None:
    """What stands in the bracket that opens at `start`, white space skipped; None where none opens."""
    while start < len(text) and text[start].isspace():
        start += 1
    if start >= len(text) or text[start] not in "{(":
        return None
    depth = 0
    for place in range(start, len(text)):
        depth += {"{": 1, "(": 1, "}": -1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return text[start + 1 : place]
    return text[start + 1 :]
