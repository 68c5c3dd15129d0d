r"""What makes a variant fit: the numbers of a statement, statements with places for numbers, and the conditions.

A variant is a problem derived from another one by changing its inputs. A chain of steps is carried over from one
to the other, so the two must differ in their numbers and in nothing else, and no number may stand for two things.
Pure: who draws, asks or stores stands elsewhere.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from .answers.plain import read_plain
from .answers.words import NUMBER_WORDS, read_number_words
from .errors import InputError
from .problems import masked_signature, statement_hash

LARGEST_ANSWER = 10**6
"""An answer is no larger where the original's is not."""
_MAX_STATEMENT_CHARS = 20_000
_MAX_PLACES = 30

Refusal = Literal[
    "answer_unreadable",
    "answer_not_whole",
    "answer_not_decimal",
    "answer_not_positive",
    "answer_too_large",
    "answer_unchanged",
    "statement_unchanged",
    "not_derived",
    "numbers_equal",
    "numbers_changed",
    "leak",
    "duplicate",
]
"""Why a variant is refused; the functions that refuse say when."""

# ---------------------------------------------------------------- numbers

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_FRACTION = r"(?:\d+[ ]+)?\d+/\d+"
_NUMBER = re.compile(
    rf"(?P<fraction>{_FRACTION})|(?P<digits>{_DIGITS})|(?P<words>{NUMBER_WORDS.pattern})"
    r"|(?P<half>\bhalf\b)|(?P<twice>\b(?:twice|doubled?s?)\b)|(?P<thrice>\b(?:thrice|tripled?s?)\b)",
    re.IGNORECASE | re.ASCII,
)
_NAMED = {"half": Fraction(1, 2), "twice": Fraction(2), "thrice": Fraction(3)}


@dataclass(frozen=True, slots=True)
class Number:
    """A number where it stands in a statement."""

    start: int
    end: int
    text: str
    value: Fraction


def find_numbers(statement: str) -> list[Number]:
    """Finds the numbers of a statement, in digits and in words, in their order.

    >>> [str(number.value) for number in find_numbers("Two of 1,200 eggs at $2.50; 1 1/2 kg, half of it, twice")]
    ['2', '1200', '5/2', '3/2', '1/2', '2']
    """
    found = []
    for match in _NUMBER.finditer(statement):
        value = _read(match)
        if value is not None:
            found.append(Number(match.start(), match.end(), match.group(), value))
    return found


def _read(match: re.Match[str]) -> Fraction | None:
    kind, text = match.lastgroup or "", match.group()
    if kind in _NAMED:
        return _NAMED[kind]
    if kind == "words":
        number = read_number_words(text)
        return None if number is None else Fraction(number)
    plain = read_plain(text)
    return None if plain is None else plain.value


def count_numbers(statement: str) -> Counter[Fraction]:
    """How often each number stands in a statement; `one` in words is left out, being a pronoun more often.

    >>> count_numbers("One of them has 3 eggs, the other three.")
    Counter({Fraction(3, 1): 2})
    """
    return Counter(number.value for number in find_numbers(statement) if number.text.casefold() != "one")


def render_number(value: Fraction, *, n_decimals: int = 0, has_commas: bool = False) -> str:
    """Writes a number: whole and decimal ones in digits, others as a fraction.

    >>> render_number(Fraction(5, 2)), render_number(Fraction(5, 2), n_decimals=2), render_number(Fraction(1, 3))
    ('2.5', '2.50', '1/3')
    >>> render_number(Fraction(1200)), render_number(Fraction(1200), has_commas=True)
    ('1200', '1,200')
    """
    digits = _decimals_of(value)
    if digits is None:
        return str(value)
    digits = max(digits, n_decimals)
    scaled = abs(value.numerator) * 10**digits // value.denominator
    whole, rest = divmod(scaled, 10**digits)
    text = f"{whole:,}" if has_commas else str(whole)
    return ("-" if value < 0 else "") + text + (f".{rest:0{digits}}" if digits else "")


def _decimals_of(value: Fraction) -> int | None:
    """Digits behind the point that write it exactly; None where none do."""
    denominator, twos, fives = value.denominator, 0, 0
    while denominator % 2 == 0:
        denominator, twos = denominator // 2, twos + 1
    while denominator % 5 == 0:
        denominator, fives = denominator // 5, fives + 1
    return max(twos, fives) if denominator == 1 else None


# ---------------------------------------------------------------- statements with places

_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,40})\}")


@dataclass(frozen=True, slots=True)
class StatementTemplate:
    """A statement with a place `{name}` for each number that changes; all other braces are text."""

    text: str
    places: tuple[str, ...]
    """Names in the order of their first place."""
    _pattern: re.Pattern[str]

    def read(self, statement: str) -> dict[str, Number] | None:
        """Reads the numbers of a statement of this form; None where it is of another form.

        White space may differ. A name with two places must have one number.

        >>> template = parse_template("Tom has {n} eggs.")
        >>> template.read("Tom has 1,200  eggs.")["n"].value, template.read("Ann has 1,200 eggs.")
        (Fraction(1200, 1), None)
        """
        match = self._pattern.fullmatch(" ".join(statement.split()))
        if match is None:
            return None
        found = {}
        for name in self.places:
            (number,) = find_numbers(match[name]) or (None,)
            if number is None or number.text != match[name]:
                return None
            found[name] = number
        return found

    def fill(self, values: Mapping[str, Fraction], like: Mapping[str, Number]) -> str:
        """Puts numbers in the places, with the decimals and thousands commas of those of the original.

        >>> template = parse_template("Tom has {n} eggs at ${p}.")
        >>> original = template.read("Tom has 1,200 eggs at $2.50.")
        >>> template.fill({"n": Fraction(3400), "p": Fraction(3)}, original)
        'Tom has 3,400 eggs at $3.00.'
        """

        def written(place: re.Match[str]) -> str:
            old = like[place[1]].text
            n_decimals = len(old.partition(".")[2]) if "/" not in old else 0
            return render_number(values[place[1]], n_decimals=n_decimals, has_commas="," in old)

        return _PLACE.sub(written, self.text)


def parse_template(text: str) -> StatementTemplate:
    """Reads a statement with places.

    Raises:
        InputError: It has no place, too many, or is too long.
    """
    places = tuple(dict.fromkeys(_PLACE.findall(text)))
    if not places:
        raise InputError(
            f"the template {text[:80]!r} has no place such as {{n}}; put one for each number that changes"
        )
    if len(places) > _MAX_PLACES or len(text) > _MAX_STATEMENT_CHARS:
        raise InputError(
            f"the template {text[:80]!r} has {len(places)} places and {len(text)} characters; "
            f"at most {_MAX_PLACES} and {_MAX_STATEMENT_CHARS} are taken"
        )
    pattern, seen = "", set[str]()
    parts = _PLACE.split(" ".join(text.split()))
    for index, part in enumerate(parts):
        if index % 2 == 0:
            pattern += re.escape(part)
        elif part in seen:
            pattern += f"(?P={part})"
        else:
            seen.add(part)
            # An atomic group: the pattern has one way only to match, however a template was put together.
            pattern += rf"(?P<{part}>(?>{_FRACTION}|{_DIGITS}|{NUMBER_WORDS.pattern}))"
    return StatementTemplate(text, places, re.compile(pattern, re.ASCII | re.IGNORECASE))


# ---------------------------------------------------------------- conditions

_TELLS = re.compile(r"####|\\boxed|\banswers?\b[^.?!]{0,30}?(?:\bis\b|\bwas\b|[:=])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Posed:
    """A problem with its answer."""

    statement: str
    answer: str


def refuse_new_numbers(parent: Posed, variant: Posed, *, known: Iterable[str] = ()) -> Refusal | None:
    """Says why a problem with the same words and new numbers is refused; None where it fits.

    - `statement_unchanged`: it is the parent;
    - `not_derived`: other words, so that the chain of steps need not apply (and nothing can be told by them);
    - `answer_unreadable`: its answer or the parent's is no plain number;
    - `answer_not_whole`, `answer_not_decimal`, `answer_not_positive`, `answer_too_large`: where the parent's is
      whole, a decimal of few digits, above zero, or at most `LARGEST_ANSWER`, so must be the variant's;
    - `answer_unchanged`: a chain that ignores the new numbers would pass;
    - `numbers_equal`: two numbers are equal that differ in the parent; it would be unclear what a number in a step
      stands for;
    - `duplicate`: one of `known` has the same words and numbers.

    >>> parent = Posed("Tom has 5 eggs and eats 2. How many are left?", "3")
    >>> refuse_new_numbers(parent, Posed("Tom has 9 eggs and eats 2. How many are left?", "7"))
    >>> refuse_new_numbers(parent, Posed("Tom has 8 eggs and eats 5. How many are left?", "3"))
    'answer_unchanged'
    """
    if statement_hash(variant.statement) == statement_hash(parent.statement):
        return "statement_unchanged"
    if masked_signature(parent.statement) != masked_signature(variant.statement):
        return "not_derived"
    found = _refuse_answer(parent.answer, variant.answer)
    if found is not None:
        return found
    if _n_equal(variant.statement) > _n_equal(parent.statement):
        return "numbers_equal"
    return "duplicate" if is_near_duplicate(variant.statement, known) else None


def _refuse_answer(parent: str, variant: str) -> Refusal | None:
    old, new = read_plain(parent), read_plain(variant)
    if old is None or new is None:
        return "answer_unreadable"
    if new.value.denominator != 1 and old.value.denominator == 1:
        return "answer_not_whole"
    if _decimals_of(new.value) is None and _decimals_of(old.value) is not None:
        return "answer_not_decimal"
    if new.value <= 0 < old.value:
        return "answer_not_positive"
    if abs(new.value) > LARGEST_ANSWER >= abs(old.value):
        return "answer_too_large"
    return "answer_unchanged" if new.value == old.value else None


def refuse_new_words(parent: str, variant: str, *, known: Iterable[str] = ()) -> Refusal | None:
    """Says why a statement with new words and the same numbers is refused; None where it fits.

    - `statement_unchanged`: nothing but white space and typography differs;
    - `leak`: it tells an answer where the parent does not;
    - `numbers_changed`: it does not hold the same numbers as often;
    - `duplicate`: one of `known` has the same words and numbers.

    >>> refuse_new_words("Tom has 5 eggs. He eats 2.", "Of the 5 eggs, Tom eats 2. The answer is 3.")
    'leak'
    """
    if statement_hash(variant) == statement_hash(parent):
        return "statement_unchanged"
    if tells_answer(variant) and not tells_answer(parent):
        return "leak"
    if count_numbers(parent) != count_numbers(variant):
        return "numbers_changed"
    return "duplicate" if is_near_duplicate(variant, known) else None


def tells_answer(statement: str) -> bool:
    """Whether a statement announces an answer, as a solution does.

    >>> tells_answer("The final answer is 5."), tells_answer("Answer: 5"), tells_answer("Give the answer in cm.")
    (True, True, False)
    """
    return _TELLS.search(statement) is not None


def _n_equal(statement: str) -> int:
    """How many numbers of a statement repeat an earlier one."""
    numbers = count_numbers(statement)
    return numbers.total() - len(numbers)


def is_near_duplicate(statement: str, known: Iterable[str]) -> bool:
    """Whether one of the statements is this one, or has the same words and the same numbers in the same order.

    >>> is_near_duplicate("Tom has 2 eggs.", ["Tom has two  eggs."]), is_near_duplicate("Tom has 2 eggs.", [])
    (True, False)
    """
    mine = [number.value for number in find_numbers(statement)]
    return any(
        mine == [number.value for number in find_numbers(other)]
        and masked_signature(statement) == masked_signature(other)
        for other in known
    )
