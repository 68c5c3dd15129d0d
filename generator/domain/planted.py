"""Wrong chains made on purpose, to see who catches them: each kind is wrong in one way, and is so by the checker.

Two kinds end in the right answer although a step is wrong: `overfit` uses the problem's own numbers by a rule that
does not hold on other numbers, `fudged` a number that the problem does not have. In every chain each value is
different from the problem's numbers and from the other values, so that a step's operands can come from one place.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from stepmark.errors import JobError

from .carrying import carried_equation, carry_chain
from .checker import check_solution, read_step
from .problems import LARGEST, DomainProblem, Equation, Operator, draw_variant
from .teacher import TaughtSolution, teach_misread

PlantedKind = Literal["overfit", "fudged", "slip", "corrupted", "leaked"]
"""`overfit`: the right answer by a wrong rule. `fudged`: the right answer, a step's operands made up. `slip`: one
result is wrong, and carried on. `corrupted`: one operand is another of the problem's numbers, and the result is
carried on. `leaked`: a sentence is misread, and the last step states the right answer all the same."""

_OPERATORS: tuple[Operator, ...] = ("+", "-", "*", "/")
_N_VARIANTS = 6
"""Variants on which an overfit chain is tried, to tell it from one that is right in another order."""


def plant(kind: PlantedKind, problem: DomainProblem, rng: random.Random) -> TaughtSolution | None:
    """Makes a wrong chain of one kind for a problem; None where none was found."""
    for equations in _MAKERS[kind](problem, rng):
        answer = problem.answer if kind == "leaked" else str(equations[-1].result)
        steps = tuple(str(equation) for equation in equations)
        found = check_solution(problem, steps, answer)
        if found.fault is None or not _has_distinct_values(problem, equations, spare_last=True):
            continue
        if found.outcome != (kind in ("overfit", "fudged", "leaked")):
            continue
        if kind == "overfit" and not _fails_elsewhere(problem, steps, answer, rng):
            continue
        return TaughtSolution(steps, answer, found.step_labels.index(-1))
    return None


def _overfit(problem: DomainProblem, rng: random.Random) -> Iterator[Sequence[Equation]]:
    """Misreadings that cancel; then two last steps of other operands or operators that end in the right answer."""
    events = range(len(problem.events))
    for n in (1, 2):
        for misread in itertools.combinations(events, n):
            solution = teach_misread(problem, frozenset(misread))
            if solution is not None and solution.answer == problem.answer:
                yield _read(solution.steps)
    right = problem.equations
    n_kept = rng.randint(max(0, len(right) - 3), len(right) - 2)
    kept = right[:n_kept]
    known = [*problem.numbers, *(equation.result for equation in kept), *([2] if _has_half(problem) else [])]
    target = right[-1].result
    found = list[Sequence[Equation]]()
    for first in _all_steps(known):
        if first.result in known or not 2 <= first.result <= LARGEST:
            continue
        for other in known:
            for operator in _OPERATORS:
                for left, turned in ((first.result, other), (other, first.result)):
                    second = carried_equation(left, operator, turned)
                    if second is not None and second.result == target:
                        found.append((*kept, first, second))
    rng.shuffle(found)
    yield from found[:12]


def _fudged(problem: DomainProblem, rng: random.Random) -> Iterator[Sequence[Equation]]:
    right = problem.equations
    known = {*problem.numbers, *(equation.result for equation in right), 2}
    made_up = [n for n in range(2, 31) if n not in known]
    places = list(range(len(right)))
    rng.shuffle(places)
    for place in places:
        before = [equation.result for equation in right[:place]] or [problem.start]
        steps = [
            equation
            for left in (before[-1], *made_up)
            for operator in _OPERATORS
            for other in made_up
            if left != other and (equation := carried_equation(left, operator, other)) is not None
            if equation.result == right[place].result
        ]
        if steps:
            yield (*right[:place], rng.choice(steps), *right[place + 1 :])


def _slip(problem: DomainProblem, rng: random.Random) -> Iterator[Sequence[Equation]]:
    for _ in range(8):
        place = rng.randrange(len(problem.equations))
        off = rng.choice((-10, -3, -2, -1, 1, 2, 3, 10))
        equation = problem.equations[place]
        wrong = Equation(equation.left, equation.operator, equation.right, equation.result + off)
        if (chain := _carried_on(problem, place, wrong)) is not None:
            yield chain


def _corrupted(problem: DomainProblem, rng: random.Random) -> Iterator[Sequence[Equation]]:
    for _ in range(12):
        place = rng.randrange(len(problem.equations))
        equation = problem.equations[place]
        earlier = [one.result for one in problem.equations[:place]]
        other = rng.choice([*problem.numbers, *earlier])
        operator = rng.choice(_OPERATORS) if rng.random() < 0.3 else equation.operator
        wrong = carried_equation(equation.left, operator, other)
        if wrong is not None and (chain := _carried_on(problem, place, wrong)) is not None:
            yield chain


def _leaked(problem: DomainProblem, rng: random.Random) -> Iterator[Sequence[Equation]]:
    events = list(range(len(problem.events)))
    rng.shuffle(events)
    for event in events:
        solution = teach_misread(problem, frozenset((event,)))
        if solution is not None and solution.answer != problem.answer:
            *before, last = _read(solution.steps)
            yield (*before, Equation(last.left, last.operator, last.right, int(problem.answer)))


_MAKERS: Mapping[PlantedKind, Callable[[DomainProblem, random.Random], Iterator[Sequence[Equation]]]] = {
    "overfit": _overfit,
    "fudged": _fudged,
    "slip": _slip,
    "corrupted": _corrupted,
    "leaked": _leaked,
}


def _carried_on(problem: DomainProblem, place: int, wrong: Equation) -> Sequence[Equation] | None:
    """The right chain up to a wrong step, and its rules from there on with the wrong value."""
    moved = {problem.equations[place].result: wrong.result}
    chain = [*problem.equations[:place], wrong]
    for equation in problem.equations[place + 1 :]:
        left, right = (moved.get(value, value) for value in (equation.left, equation.right))
        carried = carried_equation(left, equation.operator, right)
        if carried is None:
            return None
        moved[equation.result] = carried.result
        chain.append(carried)
    return chain


def _has_distinct_values(problem: DomainProblem, chain: Sequence[Equation], *, spare_last: bool) -> bool:
    """Whether no value stands for two things; the last result is used by no step, and may be anything."""
    results = [equation.result for equation in chain]
    known = [*problem.numbers, *([2] if _has_half(problem) else [])]
    values = [*known, *(results[:-1] if spare_last else results)]
    return (
        len(set(values)) == len(values)
        and results[-1] not in values
        and all(2 <= result <= LARGEST or result == int(problem.answer) for result in results)
    )


def _fails_elsewhere(problem: DomainProblem, steps: Sequence[str], answer: str, rng: random.Random) -> bool:
    """Whether a chain misses the answer on one of some variants, as no chain does that is right in another order."""
    try:
        variants = [draw_variant(problem, rng) for _ in range(_N_VARIANTS)]
    except JobError:
        return False
    return any(
        carry_chain(problem.statement, steps, answer, variant.statement).answer != variant.answer
        for variant in variants
    )


def _all_steps(known: Sequence[int]) -> Iterator[Equation]:
    for left, right in itertools.permutations(known, 2):
        for operator in _OPERATORS:
            if operator in "+*" and left > right:
                continue
            equation = carried_equation(left, operator, right)
            if equation is not None:
                yield equation


def _has_half(problem: DomainProblem) -> bool:
    return any(event.kind == "half" for event in problem.events)


def _read(steps: Sequence[str]) -> list[Equation]:
    return [equation for step in steps if (equation := read_step(step)) is not None]
