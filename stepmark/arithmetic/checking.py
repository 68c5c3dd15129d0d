"""Finding the equations and comparisons among the tokens of a step, and telling whether they hold."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations, pairwise
from typing import Literal

from stepmark.answers.units import Unit, read_unit
from stepmark.replay import written

from .reading import (
    ARTICLES,
    MAX_UNIT_WORDS,
    NOT_UNITS,
    SCALES,
    UNIT_LETTERS,
    Read,
    Reader,
    bare,
    is_unit_text,
    readings,
)
from .tokens import Token, cut, plain_spelling, without_markers

Result = Literal["holds", "holds when rounded", "fails", "not checkable"]
Relation = Literal["=", "<", ">", "<=", ">=", "≈", "≠"]


@dataclass(frozen=True, slots=True)
class Side:
    """One side of an equation or comparison."""

    start: int
    """Of its first character in the step."""
    end: int
    """After its last character."""
    text: str
    """The step between the two."""
    value: str | None
    """What it comes to: `112`, `3.5`, `10/3`, `9.9302664`, rounded where it would be long; None where that cannot be
    worked out, or there are letters in it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An equation or comparison of two neighbours; in a chain, neighbouring findings share a side."""

    start: int
    """Of its first character in the step."""
    end: int
    """After its last character."""
    text: str
    """The step between the two."""
    left: Side
    relation: Relation
    right: Side
    result: Result
    reason: str | None = None
    """Why it is not checkable."""
    is_note: bool = False
    """Whether it is a calculator's note, `<<16*7=112>>`, which readers are not always shown."""


_RELATIONS: dict[str, Relation] = {
    **dict.fromkeys(("=", "=="), "="),
    **dict.fromkeys(("<", "\\lt"), "<"),
    **dict.fromkeys((">", "\\gt"), ">"),
    **dict.fromkeys(("<=", "≤", "\\le", "\\leq", "\\leqslant"), "<="),
    **dict.fromkeys((">=", "≥", "\\ge", "\\geq", "\\geqslant"), ">="),
    **dict.fromkeys(("≈", "\\approx", "\\simeq"), "≈"),
    **dict.fromkeys(("!=", "≠", "\\ne", "\\neq"), "≠"),
}
_HAS_RELATION = re.compile(r"[=<>≤≥≈≠]|\\[lg](?:e|t)|\\approx|\\simeq|\\ne")
_NOTE = re.compile(r"<<([^<>\n]*)>>")
_OTHER_ARITHMETIC = re.compile(
    r"\bmod(?:ulo)?\b|\\[bp]?mod|\\equiv|≡|\bbase[-\s$\\(]*(?:\d|two|three|four|five|six|seven|eight|nine)",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"\b(?:[Ff]alse|impossible|invalid|contradict\w*|extraneous|untrue|no solution|does(?: not|n't)|is(?: not|n't)|"
    r"cannot|can't|not (?:true|equal|possible|satisf\w*|work|hold|valid))\b|≠|\\neq?(?![a-z])|!="
)
"""Words with which a writer says that what stands before is not so."""
_TRIED = re.compile(r"\b(?:plug|substitut|check|verif|test|try|suppos|assum|if)\w*", re.IGNORECASE)
"""Words with which a writer puts in a value to see whether it fits."""
_MONEY = re.compile(r"[$€£¢]|\b(?:cents?|dollars?|penn(?:y|ies))\b", re.IGNORECASE)
_LONGER = "part of something longer"
_CUTS_BEFORE = re.compile(
    "plus|minus|times|mod|log|ln|lg|sin|cos|tan|cot|sec|csc|exp|max|min|gcd|lcm|hcf|sqrt|det|choose"
)
"""Words before a number that make it part of something longer."""
_DOUBTS_BEFORE = re.compile("of|than|twice|half|double|triple|thrice|average|mean|remainder|over|root")
_CUTS_BEHIND = re.compile("divided|multiplied|squared|cubed|mod|choose|percent")
"""Words behind a number that do so."""
MAX_CHARS = 20_000
"""What stands behind so many characters of a step is not looked at."""
_UNIT_WITHIN = 20
"""Characters behind an equation in which the unit of its result may stand."""
_DENIED_WITHIN = 400
"""Characters behind a chain in which a denial is looked for."""
_SMALL = Fraction(1, 100)
"""So far off `≈` may be, as a share."""
_FLOAT_DECIMALS = 9
"""From so many decimals on, a number is right that is right to so many digits."""
_MAX_SHOWN = 20
_WHOLE = Fraction(1, 4)
"""So far off a whole number may be that rounds another, as a share."""


@dataclass(frozen=True, slots=True)
class _Edge:
    """What stands at an end of a chain."""

    is_cut: bool = False
    """It is part of something longer, which cannot be read."""
    doubt: str | None = None
    """Why it may be."""


def check_arithmetic(text: str) -> list[Finding]:
    """Finds the equations and comparisons of a step's text and checks them, in their order.

    What is cut off from a side that cannot be read, and a mere name on a side, are no findings. Sides with letters
    hold where they are equal at a few points, as `(x + 1)^2 = x^2 + 2x + 1` does; they never fail, since an equation
    may be a condition.

    >>> [(found.text, found.result) for found in check_arithmetic("16 - 3 = 13 eggs, and 13 * 2 = $25")]
    [('16 - 3 = 13', 'holds'), ('13 * 2 = $25', 'fails')]
    >>> [(found.result, found.right.value) for found in check_arithmetic("10/3 = 3.33 and 2x + 3 = 7")]
    [('holds when rounded', '3.33'), ('not checkable', '7')]
    >>> check_arithmetic("Step 3: x = 4")
    []
    """
    plain = plain_spelling(text[:MAX_CHARS])
    if _HAS_RELATION.search(plain) is None:
        return []
    step = _Step(
        text,
        frozenset()
        if _OTHER_ARITHMETIC.search(plain) is None
        else frozenset(["modular arithmetic, or another base"]),
        is_tried=_TRIED.search(plain) is not None,
    )
    outside = _NOTE.sub(lambda note: " " * len(note[0]), plain)
    found = list(_findings(step, cut(without_markers(outside))))
    said = {(one.left.value, one.right.value, one.result) for one in found}
    for note in _NOTE.finditer(plain):
        for one in _findings(step, cut(note[1], offset=note.start(1))):
            if (one.left.value, one.right.value, one.result) not in said:
                found.append(replace(one, is_note=True))
    if len(text) > MAX_CHARS:  # what stands at the cut may go on behind it
        found = [one for one in found if one.end <= MAX_CHARS - _DENIED_WITHIN]
    return sorted(found, key=lambda one: (one.start, one.end))


@dataclass(frozen=True, slots=True)
class _Step:
    """What is looked up once for all equations of a step."""

    text: str
    doubts: frozenset[str]
    """About all of them."""
    is_tried: bool
    """Whether values are put in to see whether they fit."""


def _findings(step: _Step, tokens: Sequence[Token]) -> Iterator[Finding]:
    leads_on = _leads_to_relation(tokens)
    at = 0
    while at < len(tokens):
        read = Reader(tokens, at).side() if leads_on[at] and _may_begin(tokens, at) else None
        if read is None:
            at += 1
            continue
        chain = _chain(tokens, read)
        at = chain[-1].end
        if len(chain) > 1:
            yield from _judged(step, tokens, chain)


def _leads_to_relation(tokens: Sequence[Token]) -> list[bool]:
    """Of each token, whether a relation sign stands behind it, before anything that no side holds."""
    found, leads = [False] * len(tokens), False
    for at in range(len(tokens) - 1, -1, -1):
        kind = tokens[at].kind
        leads = kind == "relation" or (leads and kind not in ("comma", "colon", "stop", "arrow", "other", "bullet"))
        found[at] = leads
    return found


def _chain(tokens: Sequence[Token], read: Read) -> list[Read]:
    """Sides joined by relation signs."""
    chain = [read]
    while (at := _relation_behind(tokens, chain[-1].end)) is not None:
        following = Reader(tokens, at + 1).side()
        if following is None:
            break
        chain.append(following)
    return chain


def _relation_behind(tokens: Sequence[Token], at: int) -> int | None:
    """The relation sign behind a side, also on the next line."""
    if at < len(tokens) and tokens[at].kind == "break":
        at += 1
    return at if at < len(tokens) and tokens[at].kind == "relation" else None


def _may_begin(tokens: Sequence[Token], at: int) -> bool:
    token = tokens[at]
    if token.kind != "operator":
        return token.kind in ("number", "name", "open", "frac", "sqrt", "binom")
    if token.text not in "+-" or at + 1 == len(tokens):
        return False
    if at == 0:
        return True
    before = tokens[at - 1]
    if before.kind == "word":
        return before.end < token.start and token.end == tokens[at + 1].start
    return before.kind in ("break", "arrow", "relation", "open", "comma", "colon", "stop", "bullet")


# ---------------------------------------------------------------- the ends of a chain


def _before(tokens: Sequence[Token], at: int) -> _Edge:
    """What stands before a chain."""
    if at == 0:
        return _Edge()
    token, first = tokens[at - 1], tokens[at]
    is_glued = token.end == first.start
    if token.kind == "bullet":
        return _Edge(doubt="a list mark, or a sign")
    if token.kind == "number" or (token.text == ")" and not is_glued):
        return _Edge(doubt=_LONGER)
    if token.kind == "name":
        return _Edge(is_cut=is_glued or token.text not in ARTICLES)
    if token.kind == "word":
        word = token.text.lower()
        if (
            is_glued
            or _CUTS_BEFORE.fullmatch(word)
            or (word == "by" and _CUTS_BEHIND.fullmatch(_text(tokens, at - 2)))
        ):
            return _Edge(is_cut=True)
        return _Edge(doubt=_LONGER if first.kind == "operator" or _DOUBTS_BEFORE.fullmatch(word) else None)
    if token.kind in ("comma", "colon"):
        return _Edge(is_cut=is_glued and at > 1 and tokens[at - 2].kind == "number")
    if token.text == "'":
        return _Edge(is_cut=at > 1 and tokens[at - 2].end == token.start)
    return _Edge(is_cut=token.kind not in ("break", "arrow", "relation", "open", "stop"))


def _behind(tokens: Sequence[Token], begin: int) -> _Edge:
    """What stands behind a chain and its unit."""
    at, edge = _over_unit(tokens, begin)
    if at is None or at == len(tokens):
        return edge
    token = tokens[at]
    is_glued = tokens[at - 1].end == token.start
    following = tokens[at + 1] if at + 1 < len(tokens) else Token("end", "", -1, -1)
    is_word = following.kind in ("word", "text")
    if token.kind == "operator":
        if token.text == "/" and read_unit(bare(following.text)) is not None:
            return edge
        is_dash = token.text == "-" and not is_glued and is_word
        return _Edge(doubt=_LONGER) if is_dash else _Edge(is_cut=True)
    if token.kind in ("number", "dots"):
        return _Edge(doubt=_LONGER)
    if at > begin:
        return edge
    if token.kind == "open":
        return _Edge(is_cut=is_glued or token.text != "(" or not is_word)
    if token.text == "?":
        return _Edge(doubt="a question")
    if token.kind in ("comma", "colon", "stop"):
        return _Edge(is_cut=is_glued and following.start == token.end and following.kind in ("number", "other"))
    return _Edge(is_cut=token.kind in ("other", "frac", "sqrt", "binom", "power", "degree", "factorial", "percent"))


def _over_unit(tokens: Sequence[Token], begin: int) -> tuple[int | None, _Edge]:
    """Where reading goes on behind the unit of a result, None where the unit's words decide; and what they say."""
    doubt = None
    for at in range(begin, min(begin + MAX_UNIT_WORDS, len(tokens))):
        token = tokens[at]
        word = token.text.lower()
        if token.kind not in ("word", "text", "name"):
            return at, _Edge(doubt=doubt)
        if token.kind == "text" and not is_unit_text(token.text):
            return None, _Edge(doubt=doubt)
        if SCALES.fullmatch(word):
            doubt = "a number in words"
        if at == begin and token.kind != "text":
            is_glued = tokens[at - 1].end == token.start
            if _CUTS_BEHIND.fullmatch(word) or (is_glued and (len(word) == 1 or read_unit(word) is None)):
                return None, _Edge(is_cut=True)
            if token.kind == "name" and token.text in UNIT_LETTERS:
                doubt = "a unit, or a variable"
            elif token.kind == "name" and token.text not in ARTICLES:
                return None, _Edge(is_cut=True)
        if word in ("or", "times") and [one.kind for one in tokens[at + 1 : at + 2]] == ["number"]:
            return None, _Edge(doubt=_LONGER)
        if NOT_UNITS.fullmatch(word):
            return None, _Edge(doubt=doubt)
    return min(begin + MAX_UNIT_WORDS, len(tokens)), _Edge(doubt=doubt)


def _text(tokens: Sequence[Token], at: int) -> str:
    return tokens[at].text if 0 <= at < len(tokens) else ""


# ---------------------------------------------------------------- judging


def _judged(step: _Step, tokens: Sequence[Token], chain: Sequence[Read]) -> Iterator[Finding]:
    before, behind = _before(tokens, chain[0].first), _behind(tokens, chain[-1].end)
    after = tokens[chain[-1].end - 1].end
    is_in_list = _is_list(tokens, chain[0].first, chain[-1].end)
    last = len(chain) - 2
    for place, (left, right) in enumerate(pairwise(chain)):
        edges = [before] * (place == 0) + [behind] * (place == last)
        if any(edge.is_cut for edge in edges) or _is_name(left) or _is_name(right):
            continue
        doubts = {edge.doubt for edge in edges if edge.doubt is not None} | step.doubts
        if _DENIED.search(step.text, after, after + _DENIED_WITHIN):
            doubts.add("denied behind it")
        if is_in_list:
            doubts.add("a list")
        if place == 0 and (doubt := _doubt_of_first(tokens, left, is_tried=step.is_tried)) is not None:
            doubts.add(doubt)
        if place < last and _runs_on(tokens, left, right):
            doubts.add("a calculation that runs on")
        yield _finding(step.text, tokens, left, right, doubts)


def _is_list(tokens: Sequence[Token], first: int, end: int) -> bool:
    """Whether a chain stands between two lists: `(2-2), (5-2) = 0, 3`."""
    if _text(tokens, first - 1) != "," or _text(tokens, end) != ",":
        return False
    for token in tokens[end + 1 :]:
        if token.kind not in ("number", "operator"):
            return token.kind in ("comma", "stop")
    return True


def _is_name(read: Read) -> bool:
    return bool(read.names) and not read.n_operations


def _doubt_of_first(tokens: Sequence[Token], left: Read, *, is_tried: bool) -> str | None:
    """Why a mere number at the beginning may not be meant as equal: `Time to 400 degrees = 20 + 8`."""
    if left.n_operations:
        return None
    if left.units or (left.first and tokens[left.first - 1].kind == "word"):
        return "a name, or a change of units"
    return "a condition that is tried" if is_tried else None


def _runs_on(tokens: Sequence[Token], left: Read, right: Read) -> bool:
    """Whether a result is worked on behind the same sign: `2 * 24 = 48 + 2 = 50`."""
    first = Reader(tokens, right.first).first_operand()
    return right.n_operations > 0 and first is not None and first.value is not None and first.value == left.value


def _finding(text: str, tokens: Sequence[Token], left: Read, right: Read, doubts: set[str]) -> Finding:
    at = _relation_behind(tokens, left.end)
    assert at is not None
    relation = _RELATIONS[tokens[at].text]
    one, other = _side(text, tokens, left), _side(text, tokens, right)
    result, reason = _result(tokens, left, relation, right, doubts)
    if result == "fails" and _may_change_units(text[one.start : other.end + _UNIT_WITHIN], left, right):
        result, reason = "not checkable", "a change of units"
    return Finding(one.start, other.end, text[one.start : other.end], one, relation, other, result, reason)


def _side(text: str, tokens: Sequence[Token], read: Read) -> Side:
    start, end = tokens[read.first].start, tokens[read.end - 1].end
    start -= start > 0 and text[start - 1] in "$€£" and text[max(0, start - 2) : start] not in ("$$", "\\$")
    return Side(start, end, text[start:end], None if read.value is None else _shown(read.value))


def _shown(value: Fraction) -> str:
    """A number as a person reads it; a long one rounded.

    >>> _shown(Fraction(10, 3)), _shown(Fraction(7, 2)), _shown(Fraction(29686700, 2989517))
    ('10/3', '3.5', '9.930266')
    """
    text = written(value)
    is_long = max(map(len, text.split("/"))) > 3 if "/" in text else len(text) > _MAX_SHOWN
    return f"{float(value):.7g}" if is_long else text


def _result(
    tokens: Sequence[Token], left: Read, relation: Relation, right: Read, doubts: set[str]
) -> tuple[Result, str | None]:
    if left.names or right.names:
        return _identity(left, relation, right)
    if left.value is None or right.value is None:
        return "not checkable", "no value within the limits"
    doubts = {*doubts, *left.doubts, *right.doubts}
    is_remainder = bare(_text(tokens, right.end)).strip(" :").lower() in ("remainder", "r")
    results = {
        _compared(one, relation, other, is_remainder=is_remainder)
        for one in readings(tokens, left)
        for other in readings(tokens, right)
    }
    if "holds" in results:
        return "holds", None
    if "holds when rounded" in results:
        return "holds when rounded", None
    if relation == "=" and not left.n_operations and not right.n_operations:
        return "not checkable", "no calculation"
    if doubts:
        return "not checkable", min(doubts)
    if "not checkable" in results:
        return "not checkable", "rounded to a whole number, or wrong"
    return "fails", None


def _identity(left: Read, relation: Relation, right: Read) -> tuple[Result, str | None]:
    if relation == "=":
        pairs = list(zip(left.at_points(), right.at_points(), strict=True))
        if all(one is not None and one == other for one, other in pairs):
            return "holds", None
    return "not checkable", "letters"


def _compared(left: Read, relation: Relation, right: Read, *, is_remainder: bool) -> Result:
    one, other = left.value, right.value
    if one is None or other is None:
        return "fails"
    if relation not in ("=", "≈"):
        holds = {"<": one < other, ">": one > other, "<=": one <= other, ">=": one >= other, "≠": one != other}[
            relation
        ]
        return "holds" if holds else "fails"
    if one == other:
        return "holds"
    if relation == "≈" and abs(one - other) <= _SMALL * max(abs(one), abs(other)):
        return "holds when rounded"
    if right.n_decimals is not None:
        return _rounded(one, other, right.n_decimals, is_remainder=is_remainder)
    return "fails" if left.n_decimals is None else _rounded(other, one, left.n_decimals, is_remainder=False)


def _rounded(value: Fraction, stated: Fraction, n_decimals: int, *, is_remainder: bool) -> Result:
    """Whether a stated number is another one, rounded or cut at its last digit."""
    difference, last_place = abs(value - stated), Fraction(10) ** -n_decimals
    if n_decimals >= _FLOAT_DECIMALS and difference * 10**_FLOAT_DECIMALS <= abs(value):
        return "holds when rounded"  # the noise of a double in its last digits
    is_cut = difference < last_place and abs(stated) <= abs(value) and stated * value >= 0
    is_near = 2 * difference <= last_place
    if last_place < 1:
        return "holds when rounded" if is_cut or is_near else "fails"
    if (is_cut and is_remainder) or ((is_cut or is_near) and difference <= _WHOLE * abs(value)):
        return "holds when rounded"
    return "not checkable" if difference < last_place else "fails"


def _may_change_units(text: str, left: Read, right: Read) -> bool:
    """Whether units that measure one thing in different sizes meet, or cents and dollars, or thousandths."""
    units = [unit for phrase in (*left.units, *right.units) for unit in _units(phrase)]
    if any(one.dimension == other.dimension and one.factor != other.factor for one, other in combinations(units, 2)):
        return True
    if not left.value or not right.value:
        return False
    ratio = left.value / right.value
    ratio = max(ratio, 1 / ratio)
    if ratio == 100 and _MONEY.search(text):
        return True
    return bool(right.units) and ratio in (1000, 10**6, 10**9)


def _units(phrase: str) -> Iterator[Unit]:
    """The known units in a phrase: `miles per hour` has two."""
    for word in re.split(r"[ /]+", phrase):
        if (unit := read_unit(word)) is not None:
            yield unit
