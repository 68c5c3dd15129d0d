r"""What counts as the same answer: stepmark's rules, with computer algebra as the last resort.

Math-Verify alone answers some questions otherwise than a grader would, and not the same both ways round.
These are decided here, before it is asked:

| pair | Math-Verify 0.9 | here | rule |
|---|---|---|---|
| `50` and `50 %`, `0.5` and `50 %` | equal | unknown: was percent asked for? | `percent_unclear` |
| `25` and `33 %` | not equal | not equal | `percent_differs` |
| `4 and 4` and `4` | equal: a set | not equal | `list_length` |
| `75 + 100 = 175` and `175` | not equal | equal | `number` |
| `(1,2)` and `\{1,2\}`, `(1,2)` and `[1,2]` | the first equal | not equal | `bracket_differs` |
| `(2,1)` and `(5,3)` | equal: two empty intervals | not equal | `list` |
| `4t` and `4` | equal: `t` is a unit | not equal | `math_verify` |
| `5 hours` and `5 miles` | equal: units are dropped | not equal | `unit_differs` |
| `5 cm` and `5 m` | equal: units are dropped | not equal | `number` |
| `east` and `seat` | equal: a product of letters | not equal | `text` |
| `1 2` and `3` | equal: a mixed number | unreadable | `spaced_digits` |
| `2600g` and `2600` | equal: units are dropped | unknown: algebra or a mass | `unit_unclear` |
| `B) 12`, `Choice_B` and `B` | not equal, or a product | equal: a choice's letter | `choice` |
| a whole sentence | a product of letters | unreadable | `prose` |

Every comparison is symmetric: the two sides are put in a fixed order first, and Math-Verify must agree in
both directions. Whatever cannot be read is `unparsable`, which is an unknown outcome and not a false one.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .comparison import Comparison
from .limits import MAX_PARTS, exceeded_limit
from .plain import NOT_A_UNIT, PlainNumber, compare_plain, read_plain
from .tidy import has_unreadable_characters, strip_markup, tidy_answer
from .units import Unit, read_unit

Symbolic = Callable[[str, str], Comparison]
"""Compares two LaTeX expressions that passed the limits; only workers hold one that calls Math-Verify."""

_TEXT_COMMAND = re.compile(r"\\(?:text|mathrm|textbf|textrm|mathbf|textit|mbox)\s*\{([^{}]*)\}")
_WORDS = re.compile(r"[A-Za-z][A-Za-z'-]*(?: [A-Za-z][A-Za-z'-]*)*", re.ASCII)
_CHOICE = re.compile(r"\(([A-Za-z])\)")
_LABELLED_CHOICE = re.compile(
    r"(?:(?i:choice|option)(?:\s|\\?_)*\(?([A-Z])\)?|\(([A-Z])\)|([A-Z])\)|([A-Z])(?=[.:]\s|\.?$))"
    r"(?:[.:]?$|(?:[.:]|\\?\s)\s*(?!and\b|or\b|\\(?:times|cdot|div|pm|cup|cap)\b)[\w$(\\\"'-].*)",
    re.DOTALL | re.ASCII,
)
_ANOTHER_CHOICE = re.compile(
    r"(?i:\b(?:choice|option)s?)(?:\s|\\?_)*\(?[A-Z]\b|\([A-Z]\)|\b(?:or|and)\s+[A-Z]\b", re.ASCII
)
_LONG_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}")
_SPACED_WORD = re.compile(r"(?<![\\A-Za-z])([A-Za-z]{2,})\s+[A-Za-z0-9]")
_COMMAND_OR_TEXT = re.compile(
    r"\\(?:begin|end)\s*\{[a-zA-Z*]*\}|\\(?:text|mathrm|mbox|operatorname\*?)\s*\{\s*(?:and|or|if|mod|[a-z]{1,7})\s*\}"
    r"|\\[a-zA-Z]+"
)
_MATHS_WORDS = frozenset(
    {
        "and",
        "or",
        "pi",
        "ln",
        "log",
        "exp",
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "det",
        "gcd",
        "lcm",
        "max",
    }
    | {"min", "mod", "sqrt", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan", "infinity", "frac"}
)
_SPACED_DIGITS = re.compile(r"(?<![\\{}])\d\s+\d")
_TRAILING_UNIT = re.compile(
    r"(?P<body>.*?)\s*(?:\\(?:text|mathrm|textrm|mbox)\s*\{\s*(?P<unit>[^{}]*?)\s*\}\s*"
    r"(?:\^\s*\{?\s*(?P<power>[23])\s*\}?)?|(?P<degree>\^\s*\{?\s*\\circ\s*\}?))",
    re.DOTALL,
)
_TRAILING_WORDS = re.compile(r"(?P<body>.*[\d})!])\s+(?P<unit>[A-Za-z]{2,}(?: [A-Za-z]+){0,3})", re.DOTALL)
_MEMBER = re.compile(r"^[a-zA-Z]\s*\\in\s*(?=[\[(\\])")
_LISTED_NAME = re.compile(r"^[a-zA-Z]\s*=\s*(?=[^=<>]*$)")
_SPACE = re.compile(r"(?<![0-9A-Za-z\\])\s+|\s+(?![0-9A-Za-z])")
_OPENING = {"(": "(", "[": "[", "\\{": "{", "{": "{"}
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?:\s*([apAP])\.?\s?[mM]\.?)?", re.ASCII)
_ATTACHED_UNIT = re.compile(r"([^A-Za-z\\]*\d)[mgshlL]")
_NAME = re.compile(r"\s*[A-Za-z](?:_\w)?\s*")
_ARITHMETIC = re.compile(r"(?=.*\d)(?:[\d\s.,$%+*/(){}^-]|\\(?:times|cdot|div|frac)(?![a-zA-Z]))+", re.DOTALL)
_PYTHON_POWER = re.compile(r"\*\*\s*(-?\d+|[a-zA-Z])")


def decide(found: str, reference: str, symbolic: Symbolic) -> Comparison:
    """Compares two answers by the rules of this module; asks `symbolic` only where nothing else decides.

    Args:
        found: The answer of a solution.
        reference: The answer to compare it with; swapping the two changes nothing.
        symbolic: What compares two expressions that are neither plain numbers, words nor lists.

    Raises:
        Exception: Whatever `symbolic` raises; callers use that to find out that it would be needed.
    """
    if found == reference:
        return _compare_same(found)
    if has_unreadable_characters(found) or has_unreadable_characters(reference):
        return Comparison("unparsable", "unreadable_characters")
    if found > reference:
        found, reference = reference, found
    return _decide_ordered(found, reference, symbolic)


def _compare_same(text: str) -> Comparison:
    if has_unreadable_characters(text):
        return Comparison("unparsable", "unreadable_characters")
    if not strip_markup(text):
        return Comparison("unparsable", "empty")
    return Comparison("correct", "same_text")


def _decide_ordered(found: str, reference: str, symbolic: Symbolic) -> Comparison:
    a, b = read_plain(found), read_plain(reference)
    if a is not None and b is not None:
        return compare_plain(a, b)
    for text in (found, reference):
        limit = exceeded_limit(text)
        if limit is not None:
            return Comparison("limit", limit)
    left, right = _drop_working(tidy_answer(found)), _drop_working(tidy_answer(reference))
    a, b = read_plain(left), read_plain(right)
    if a is not None and b is not None:
        return compare_plain(a, b)
    if not left or not right:
        return Comparison("unparsable", "empty")
    if _SPACE.sub("", left) == _SPACE.sub("", right):
        return Comparison("correct", "same_text")
    for compare in (_compare_choices, _compare_words, _compare_clocks, _compare_attached_unit):
        comparison = compare(left, right)
        if comparison is not None:
            return comparison
    if any(_is_prose(text) for text in (left, right)):
        return Comparison("unparsable", "prose")
    lists = _compare_lists(left, right, symbolic)
    return lists if lists is not None else _compare_expressions(left, right, symbolic)


def _drop_working(text: str) -> str:
    """Shortens `75 + 100 = 175` to its last number, and `x = 27 - 7 = 20` to `x = 20`."""
    *working, last = text.split("=")
    if not working or read_plain(last) is None:
        return text
    name = f"{working.pop(0).strip()} = " if _NAME.fullmatch(working[0]) else ""
    return name + last.strip() if working and all(_ARITHMETIC.fullmatch(part) for part in working) else text


# Words


def _as_words(text: str) -> str | None:
    """A text of words only, ready to compare; None for anything that may be mathematics."""
    text = _TEXT_COMMAND.sub(r"\1", text).strip()
    choice = _CHOICE.fullmatch(text)
    text = choice.group(1) if choice else text
    if not _WORDS.fullmatch(text):
        return None
    if len(text) == 1:
        return text
    if text.lower() in _MATHS_WORDS or not re.search("[A-Za-z]{3}", text):
        return None
    return text.lower()


def _compare_choices(left: str, right: str) -> Comparison | None:
    """Compares the letters of two multiple-choice answers; None unless one of them says more than its letter."""
    a, b = _read_choice(left), _read_choice(right)
    if a is None or b is None or (_as_words(left) == a and _as_words(right) == b):
        return None
    return Comparison("correct" if a == b else "incorrect", "choice")


def _read_choice(text: str) -> str | None:
    """The letter of `B`, `(B)`, `B) 12`, `Choice_B: 12`; None where there is none, or more than one."""
    text = _TEXT_COMMAND.sub(r"\1", text).strip()
    match = _LABELLED_CHOICE.fullmatch(text)
    if match is None or _ANOTHER_CHOICE.search(text, match.end(match.lastindex or 0)):
        return None
    return match[match.lastindex or 0]


def _compare_words(left: str, right: str) -> Comparison | None:
    a, b = _as_words(left), _as_words(right)
    if a is None and b is None:
        return None
    if a is not None and b is not None:
        if a == b:
            return Comparison("correct", "text")
        is_one_word = " " not in a and " " not in b
        return Comparison("incorrect", "text") if is_one_word else Comparison("unparsable", "text")
    word = a if a is not None else b
    # A single letter against mathematics may be a variable; a word against it says nothing that we can read.
    return None if word is not None and len(word) == 1 else Comparison("unparsable", "text")


def _compare_clocks(left: str, right: str) -> Comparison | None:
    """Compares two times of day; None for anything else, so that a ratio is left to Math-Verify."""
    a, b = _CLOCK.fullmatch(_TEXT_COMMAND.sub(r"\1", left)), _CLOCK.fullmatch(_TEXT_COMMAND.sub(r"\1", right))
    if a is None or b is None or not (a.group(3) or b.group(3)):
        return None
    halves = {match.group(3).lower() for match in (a, b) if match.group(3)}
    is_equal = len(halves) == 1 and [int(part) for part in a.group(1, 2)] == [int(part) for part in b.group(1, 2)]
    return Comparison("correct" if is_equal else "incorrect", "clock")


def _compare_attached_unit(left: str, right: str) -> Comparison | None:
    """`2600g` against `2600` is a mass or algebra, and nothing here can tell which."""
    for text, other in ((left, right), (right, left)):
        match, plain = _ATTACHED_UNIT.fullmatch(text), read_plain(other)
        if match and plain and read_plain(match.group(1)) in (plain, PlainNumber(plain.value)):
            return Comparison("unparsable", "unit_unclear")
    return None


def _is_prose(text: str) -> bool:
    expression, _ = _split_unit(text)
    bare = _COMMAND_OR_TEXT.sub(" ", expression)
    words = [*_LONG_WORD.findall(bare), *_SPACED_WORD.findall(bare)]
    return any(word.lower() not in _MATHS_WORDS for word in words)


# Lists, sets, points and intervals


@dataclass(frozen=True, slots=True)
class _Parts:
    """A comma-separated answer taken apart."""

    brackets: str
    """`()`, `[]`, `[)`, `(]`, `{}`; empty for a bare list."""
    items: tuple[str, ...]


def _split_parts(text: str) -> _Parts | None:
    """Takes a list apart; None for anything that is not one."""
    text = _MEMBER.sub("", text)
    inner, brackets = text, ""
    opening = next((bracket for bracket in ("\\{", "(", "[") if text.startswith(bracket)), None)
    closing = next((bracket for bracket in ("\\}", ")", "]") if text.endswith(bracket)), None)
    if opening and closing and (opening == "\\{") == (closing == "\\}"):
        candidate = text[len(opening) : -len(closing)]
        if _is_balanced(candidate):
            inner, brackets = candidate, _OPENING[opening] + closing[-1]
    items = _split_at_commas(inner)
    if items is None or (len(items) == 1 and brackets != "{}"):
        return None
    if not brackets:
        items = [_LISTED_NAME.sub("", item) for item in items] if _names_one(items) else items
    return _Parts(brackets, tuple(items))


def _names_one(items: Sequence[str]) -> bool:
    """Whether one name has all the values (`x = 1, 2`, `x = 1, x = 2`), unlike in `x = 1, y = 2`."""
    names = {match.group().split("=")[0].strip() for item in items if (match := _LISTED_NAME.match(item))}
    return len(names) == 1


def _is_balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(character, 0)
        if depth < 0:
            return False
    return depth == 0


def _split_at_commas(text: str) -> list[str] | None:
    """Splits at commas (and `and`, `or`) outside brackets; None where an item is empty."""
    text = re.sub(r"\\text\s*\{\s*,?\s*(?:and|or)\s*\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])", ",", text)
    text = re.sub(r",\s*,", ",", text)
    items, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(character, 0)
        if character in ",;" and depth == 0:
            items.append(text[start:place].strip())
            start = place + 1
    items.append(text[start:].strip())
    return items if all(items) else None


def _compare_lists(left: str, right: str, symbolic: Symbolic) -> Comparison | None:
    a, b = _split_parts(left), _split_parts(right)
    if a is None or b is None:
        parts, single = (a, right) if b is None else (b, left)
        is_one_for_many = parts is not None and len(parts.items) > 1 and read_plain(single) is not None
        return Comparison("incorrect", "list_length") if is_one_for_many else None
    if a.brackets and b.brackets and a.brackets != b.brackets:
        return Comparison("incorrect", "bracket_differs")
    if len(a.items) != len(b.items):
        return Comparison("incorrect", "list_length")
    if len(a.items) > MAX_PARTS:
        return Comparison("limit", "list_length")
    if {a.brackets, b.brackets} <= {"", "{}"}:
        return _compare_unordered(a.items, b.items, symbolic)
    results = [decide(x, y, symbolic) for x, y in zip(a.items, b.items, strict=True)]
    for result in ("incorrect", "limit", "unparsable"):
        worst = next((each for each in results if each.result == result), None)
        if worst is not None:
            return Comparison(worst.result, "list" if result == "incorrect" else worst.rule)
    return Comparison("correct", "list")


def _compare_unordered(left: Sequence[str], right: Sequence[str], symbolic: Symbolic) -> Comparison:
    """Looks for a one-to-one matching of equal items (Kuhn's augmenting paths)."""
    results = [[decide(a, b, symbolic) for b in right] for a in left]
    partner: dict[int, int] = {}

    def find(row: int, seen: set[int]) -> bool:
        for column, comparison in enumerate(results[row]):
            if comparison.result == "correct" and column not in seen:
                seen.add(column)
                if column not in partner or find(partner[column], seen):
                    partner[column] = row
                    return True
        return False

    if all(find(row, set()) for row in range(len(left))):
        return Comparison("correct", "list")
    unknown = [each for row in results for each in row if each.outcome is None]
    return unknown[0] if unknown else Comparison("incorrect", "list")


# Expressions


def _split_unit(text: str) -> tuple[str, Unit | None]:
    """Takes a trailing unit or counted thing off an expression; the unit is None unless it is a known one."""
    match = _TRAILING_UNIT.fullmatch(text)
    if match is not None and match.group("body"):
        name = "degree" if match.group("degree") else match.group("unit") or ""
        if name == "degree" or _WORDS.fullmatch(name):
            return match.group("body"), read_unit(name + (f"^{match.group('power')}" if match.group("power") else ""))
    match = _TRAILING_WORDS.fullmatch(text)
    if match is not None:
        unit = read_unit(match.group("unit"))
        words = match.group("unit").lower().split()
        if not any(NOT_A_UNIT.fullmatch(word) for word in words) and (unit is not None or len(words[0]) >= 4):
            return match.group("body"), unit
    return text, None


def _compare_expressions(left: str, right: str, symbolic: Symbolic) -> Comparison:
    if ("%" in left) != ("%" in right):
        return Comparison("unparsable", "percent_unclear")
    left, right = left.replace("%", ""), right.replace("%", "")
    a, unit_a = _split_with_plain(left)
    b, unit_b = _split_with_plain(right)
    if unit_a is not None and unit_b is not None and unit_a != unit_b:
        if unit_a.dimension != unit_b.dimension:
            return Comparison("incorrect", "unit_differs")
        a, b = (
            rf"\frac{{{unit.factor.numerator}}}{{{unit.factor.denominator}}} \cdot ({text})"
            for unit, text in ((unit_a, a), (unit_b, b))
        )
    a, b = (_PYTHON_POWER.sub(r"^{\1}", text) for text in (a, b))
    if any(_SPACED_DIGITS.search(text) for text in (a, b)):
        return Comparison("unparsable", "spaced_digits")
    return symbolic(a, b)


def _split_with_plain(text: str) -> tuple[str, Unit | None]:
    """An expression without its unit; a plain number is written out so that LaTeX reads the value we read."""
    plain = read_plain(text)
    if plain is None:
        return _split_unit(text)
    return _render_plain(plain), plain.unit


def _render_plain(plain: PlainNumber) -> str:
    name = f"{plain.name} = " if plain.name else ""
    if plain.decimals is not None:
        digits = abs(plain.value) * 10**plain.decimals
        whole, rest = divmod(int(digits), 10**plain.decimals)
        sign = "-" if plain.value < 0 else ""
        return f"{name}{sign}{whole}.{rest:0{plain.decimals}d}"
    if plain.value.denominator == 1:
        return f"{name}{plain.value.numerator}"
    sign = "-" if plain.value < 0 else ""
    return rf"{name}{sign}\frac{{{abs(plain.value.numerator)}}}{{{plain.value.denominator}}}"
