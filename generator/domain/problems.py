"""Problems of the embedded domain: what they are, how they are drawn, varied, and read back from their text.

A problem is a start value and two to five events, three to five steps in all. Every number that stands in it is
different from every other, and from every value on the way, so that a number in a solution's step can come from
one place only: a critic may carry a chain of steps over to a variant without guessing. A problem's text says
everything: `parse_problem` reads it back, so that a database need store nothing else.
"""

import hashlib
import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Literal

from stepmark.errors import JobError
from stepmark.records import ProblemRecord

from .wordings import EVENTS, NAMES, OPENINGS, QUESTIONS, THINGS, Kind, fill

Operator = Literal["+", "-", "*", "/"]
Part = Literal["corpus", "reserved"]
"""`corpus` families may teach the embedded model; `reserved` ones never do: demos and measurements use them."""

LARGEST = 60
"""No value on the way to an answer is larger in a drawn problem."""
_SMALLEST = 2
_STARTS = range(3, 16)
_AMOUNTS = range(3, 13)
_FACTORS = range(2, 5)
_BAG_SIZES = range(4, 10)
_RANGES: dict[Kind, tuple[range, ...]] = {
    "gain": (_AMOUNTS,),
    "lose": (_AMOUNTS,),
    "times": (_FACTORS,),
    "bags": (_FACTORS, _BAG_SIZES),
    "more": (_FACTORS,),
    "half": (),
}
_N_STEPS: dict[Kind, int] = {"gain": 1, "lose": 1, "times": 1, "bags": 2, "more": 2, "half": 1}
_NUMBER = re.compile(r"[0-9]+")
_TRIES = 200


@dataclass(frozen=True, slots=True)
class Equation:
    """One step of arithmetic."""

    left: int
    operator: Operator
    right: int
    result: int

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right} = {self.result}"


@dataclass(frozen=True, slots=True)
class Event:
    """One sentence between the opening and the question."""

    kind: Kind
    wording: int
    """Index into the kind's sentences in `wordings.EVENTS`."""
    numbers: tuple[int, ...]
    """The numbers that stand in the sentence, in order; none for `half`."""


@dataclass(frozen=True)
class DomainProblem:
    """A problem; its text, its family, its steps and its answer follow from the fields."""

    name: str
    thing: str
    opening: int
    """Index into `wordings.OPENINGS`."""
    start: int
    events: tuple[Event, ...]
    question: int
    """Index into `wordings.QUESTIONS`."""

    @cached_property
    def statement(self) -> str:
        """The problem's text."""
        sentences = [
            fill(OPENINGS[self.opening], self.name, self.thing, (self.start,)),
            *(fill(EVENTS[e.kind][e.wording], self.name, self.thing, e.numbers) for e in self.events),
            fill(QUESTIONS[self.question], self.name, self.thing),
        ]
        return " ".join(sentences)

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """Every number of the text, in order."""
        return (self.start, *(number for event in self.events for number in event.numbers))

    @cached_property
    def equations(self) -> tuple[Equation, ...]:
        """The one right chain of steps."""
        equations = _work_out(self.start, self.events)
        if equations is None:
            raise ValueError(f"no whole, non-negative answer: {self.statement!r}")
        return equations

    @property
    def steps(self) -> tuple[str, ...]:
        """The right chain as bare step texts."""
        return tuple(str(equation) for equation in self.equations)

    @property
    def answer(self) -> str:
        """The right final answer."""
        return str(self.equations[-1].result)

    @property
    def family(self) -> str:
        """The text with its numbers masked; a problem and its variants share it."""
        return family_of(self.statement)


def problem_record(problem: DomainProblem, source: str, index: int) -> ProblemRecord:
    """The problem as a database stores it, with its answer and right chain, under its index in the source."""
    return ProblemRecord(
        statement=problem.statement,
        source=source,
        source_key=str(index),
        reference_answer=problem.answer,
        reference_solution="\n".join(problem.steps),
        licence="Apache-2.0",
    )


def family_of(statement: str) -> str:
    """Masks the numbers of a text, and evens out its white space.

    >>> family_of("Mia has 12 nuts.")
    'Mia has # nuts.'
    """
    return _NUMBER.sub("#", " ".join(statement.split()))


def part_of(family: str) -> Part:
    """Says where a family belongs: three in ten are reserved, by the family's SHA-256 modulo ten.

    >>> part_of("Mia has # nuts.")
    'corpus'
    """
    digest = hashlib.sha256(family.encode()).digest()
    return "reserved" if int.from_bytes(digest[:8], "big") % 10 < 3 else "corpus"


def event_equations(kind: Kind, value: int, numbers: Sequence[int]) -> tuple[Equation, ...]:
    """Writes the steps that one event takes from `value`; halves are rounded down.

    >>> [str(equation) for equation in event_equations("bags", 9, (3, 5))]
    ['3 * 5 = 15', '9 + 15 = 24']
    >>> [str(equation) for equation in event_equations("more", 9, (2,))]
    ['9 * 2 = 18', '9 + 18 = 27']
    """
    if kind == "gain":
        return (Equation(value, "+", numbers[0], value + numbers[0]),)
    if kind == "lose":
        return (Equation(value, "-", numbers[0], value - numbers[0]),)
    if kind == "times":
        return (Equation(value, "*", numbers[0], value * numbers[0]),)
    if kind == "half":
        return (Equation(value, "/", 2, value // 2),)
    if kind == "bags":
        count, size = numbers
        product = Equation(count, "*", size, count * size)
    else:
        product = Equation(value, "*", numbers[0], value * numbers[0])
    return product, Equation(value, "+", product.result, value + product.result)


def _work_out(start: int, events: Sequence[Event]) -> tuple[Equation, ...] | None:
    """Works a chain out; None where a value would be negative or not whole."""
    value, equations = start, list[Equation]()
    for event in events:
        if event.kind == "half" and value % 2:
            return None
        equations += event_equations(event.kind, value, event.numbers)
        value = equations[-1].result
        if value < 0:
            return None
    return tuple(equations)


# ---------------------------------------------------------------- drawing


def draw_problem(rng: random.Random) -> DomainProblem:
    """Draws one problem: all numbers and values on the way distinct, values from 2 to 60."""
    while True:
        kinds = _draw_kinds(rng)
        drawn = _draw_numbers(kinds, rng)
        if drawn is None:
            continue
        start, numbers = drawn
        return DomainProblem(
            name=rng.choice(list(NAMES)),
            thing=rng.choice(THINGS),
            opening=rng.randrange(len(OPENINGS)),
            start=start,
            events=tuple(
                Event(kind, rng.randrange(len(EVENTS[kind])), values)
                for kind, values in zip(kinds, numbers, strict=True)
            ),
            question=rng.randrange(len(QUESTIONS)),
        )


def draw_problems(
    n: int,
    seed: int,
    *,
    part: Part | None = None,
    exclude_families: Collection[str] = (),
) -> list[DomainProblem]:
    """Draws `n` problems, each of another family, the same ones for the same arguments.

    Args:
        n: How many.
        seed: Seed of the drawing. Seeds of the project: 0-99 the embedded model's corpus, 900-999 measurements
            while it was made, 1000-1999 the demo's training problems, 2000-2999 the demo's test problems,
            3000-3999 the self-verifying experiment, 4000-4999 active labelling, 5000-5999 rounds of the loop,
            6000-6499 the comparison of reward models, 6500-6999 GRPO (examples/grpo).
        part: Only families of this part; None takes both.
        exclude_families: Families that must not appear, as `DomainProblem.family` writes them.

    Raises:
        JobError: So many families are excluded that new ones are too rare to find.
    """
    rng = random.Random(seed)
    taken = set(exclude_families)
    problems = list[DomainProblem]()
    for _ in range(100 * n + 1000):
        if len(problems) == n:
            return problems
        problem = draw_problem(rng)
        if problem.family in taken or (part is not None and part_of(problem.family) != part):
            continue
        taken.add(problem.family)
        problems.append(problem)
    raise JobError(f"found only {len(problems)} of {n} problems of new families; ask for fewer")


def draw_variant(problem: DomainProblem, rng: random.Random) -> DomainProblem:
    """Draws a variant: the same sentences with new numbers, every one of them changed, and another answer.

    Where no numbers are found that change them all (a few problems in a thousand) some stay. A variant reveals
    misreadings: a half is never taken of four, since 4 / 2 = 4 - 2.

    Raises:
        JobError: No numbers were found at all; only possible for problems that `draw_problem` did not draw.
    """
    kinds = tuple(event.kind for event in problem.events)
    second_best: DomainProblem | None = None
    for _ in range(_TRIES):
        drawn = _draw_numbers(kinds, rng, smallest_halved=6)
        if drawn is None:
            continue
        start, numbers = drawn
        events = tuple(replace(e, numbers=values) for e, values in zip(problem.events, numbers, strict=True))
        variant = replace(problem, start=start, events=events)
        if variant.answer == problem.answer:
            continue
        if all(old != new for old, new in zip(problem.numbers, variant.numbers, strict=True)):
            return variant
        second_best = variant
    if second_best is None:
        raise JobError(f"found no variant of {problem.statement!r}")
    return second_best


def _draw_kinds(rng: random.Random) -> tuple[Kind, ...]:
    """Draws the events' kinds, three to five steps in all.

    `more` is never last, so that leaving out its sum shows in a step; there is at most one half, and so few
    products that other numbers can be found for a variant.
    """
    n_steps = rng.randint(3, 5)
    while True:
        kinds = list[Kind]()
        while sum(_N_STEPS[kind] for kind in kinds) < n_steps:
            kinds.append(rng.choice(list(EVENTS)))
        if sum(_N_STEPS[kind] for kind in kinds) > n_steps or kinds[-1] == "more" or kinds.count("half") > 1:
            continue
        if kinds.count("times") + kinds.count("more") <= (1 if "half" in kinds else 2):
            return tuple(kinds)


def _draw_numbers(
    kinds: Sequence[Kind], rng: random.Random, *, smallest_halved: int = 4
) -> tuple[int, list[tuple[int, ...]]] | None:
    """Draws numbers for a sequence of kinds; None where the first attempts lead nowhere."""
    for _ in range(20):
        start = rng.choice(_STARTS)
        seen = {start}
        value, numbers = start, list[tuple[int, ...]]()
        for kind in kinds:
            if kind == "half" and (value % 2 or value < smallest_halved):
                break
            drawn = tuple(rng.choice(allowed) for allowed in _RANGES[kind])
            equations = event_equations(kind, value, drawn)
            new = [*drawn, *(equation.result for equation in equations)]
            value = new[-1]
            if "half" in kinds and 2 in (new if kind != "half" else ()):
                break
            if len(set(new)) < len(new) or seen & set(new) or not _SMALLEST <= value <= LARGEST:
                break
            seen.update(new)
            numbers.append(drawn)
        else:
            return start, numbers
    return None


# ---------------------------------------------------------------- reading


def parse_problem(statement: str) -> DomainProblem | None:
    """Reads a problem back from its text; None where the text is not one of this domain's.

    Any numbers are taken, not only those that `draw_problem` draws, as long as no value on the way is negative
    and every half is whole.

    >>> text = "Mia has 9 nuts. She loses 5 nuts. Then she loses half of the nuts. How many nuts are there now?"
    >>> problem = parse_problem(text)
    >>> problem.steps, problem.answer
    (('9 - 5 = 4', '4 / 2 = 2'), '2')
    """
    text = " ".join(statement.split())
    sentences = [sentence.strip() for sentence in re.findall(r"[^.?]+[.?]", text)]
    if len(sentences) < 3 or "#" in text or re.search(r"[0-9]{7}", text):
        return None
    opened = _read_opening(sentences[0])
    if opened is None:
        return None
    opening, name, thing, start = opened
    questions = [fill(question, name, thing) for question in QUESTIONS]
    if sentences[-1] not in questions:
        return None
    events = list[Event]()
    for sentence in sentences[1:-1]:
        found = _masked_events(name, thing).get(family_of(sentence))
        if found is None:
            return None
        events.append(Event(*found, tuple(int(number) for number in _NUMBER.findall(sentence))))
    if _work_out(start, events) is None:
        return None
    problem = DomainProblem(name, thing, opening, start, tuple(events), questions.index(sentences[-1]))
    return problem if problem.statement == text else None


def _read_opening(sentence: str) -> tuple[int, str, str, int] | None:
    numbers = _NUMBER.findall(sentence)
    if len(numbers) != 1:
        return None
    found = _masked_openings().get(family_of(sentence))
    return None if found is None else (*found, int(numbers[0]))


@cache
def _masked_openings() -> dict[str, tuple[int, str, str]]:
    return {
        fill(wording, name, thing, ("#",)): (index, name, thing)
        for index, wording in enumerate(OPENINGS)
        for name in NAMES
        for thing in THINGS
    }


@cache
def _masked_events(name: str, thing: str) -> dict[str, tuple[Kind, int]]:
    return {
        fill(wording, name, thing, ("#", "#")): (kind, index)
        for kind, wordings in EVENTS.items()
        for index, wording in enumerate(wordings)
    }
