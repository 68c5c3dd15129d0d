"""Drills for a small critic: chains of nothing but look-ups and arithmetic, without a problem to be solved.

They cost nothing, so that there may be as many as it takes to learn to copy, look up and work out. Operands are drawn
at random; more than half of the chains go wrong somewhere, so that the critic learns to work out results that it
could copy, and where to stop.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from .carrying import carried_equation, worked_out
from .problems import LARGEST, Equation, Operator

_VALUES = range(2, 17)
_MADE_UP = range(2, 31)
_OPERATORS: Sequence[Operator] = ("+", "+", "-", "*", "/")
_N_STEPS = (1, 1, 2, 2, 3, 3, 4, 5)
_ON_THE_LAST = 0.4
"""Share of steps that go on with the last result; a critic that only expects it would look nothing up."""
_OFF = (-10, -3, -2, -1, 1, 2, 3, 10)
_WRONG, _SLIPS = 0.6, 0.45
"""Share of drills with a fault, and of those the share with a slip; the others use a number from nowhere."""


@dataclass(frozen=True, slots=True)
class Drill:
    """A chain to be carried, in the shape of a solution."""

    statement: str
    """Numbers alone, and `half` where the chain may halve."""
    variant: str
    """The numbers that stand in their places."""
    steps: tuple[str, ...]
    answer: str
    has_fault: bool
    """Whether a step is wrong; it can be carried to its end all the same where nothing rests on that step."""


def draw_drill(rng: random.Random) -> Drill:
    """Draws two to six numbers and a chain of one to five steps on them."""
    while True:
        n = rng.randint(2, 6)
        here, there = rng.sample(_VALUES, n), rng.sample(_VALUES, n)
        halves = rng.random() < 0.3 and 2 not in here
        moved = dict(zip(here, there, strict=True)) | ({2: 2} if halves else {})
        chain = _chain(moved, rng.choice(_N_STEPS), rng, halves=halves)
        has_fault = rng.random() < _WRONG
        if chain is not None and has_fault:
            chain = _spoilt(chain, moved, rng)
        if chain is not None:
            words = ["half"] if halves else []
            statement, variant = (",".join([*map(str, numbers), *words]) for numbers in (here, there))
            return Drill(statement, variant, tuple(map(str, chain)), str(chain[-1].result), has_fault)


def _chain(moved: dict[int, int], n_steps: int, rng: random.Random, *, halves: bool) -> list[Equation] | None:
    """A chain on the numbers; notes in `moved` what its results become."""
    chain = list[Equation]()
    for _ in range(20 * n_steps):
        known = list(moved)
        left = chain[-1].result if chain and rng.random() < _ON_THE_LAST else rng.choice(known)
        right = rng.choice([value for value in known if value != left])
        operator = rng.choice(_OPERATORS)
        if halves and rng.random() < 0.3:
            operator, right = "/", 2
        equation = carried_equation(left, operator, right)
        other = carried_equation(moved[left], operator, moved[right])
        if equation is None or other is None or equation.result in moved:
            continue
        if max(equation.result, other.result) > LARGEST:
            continue
        moved[equation.result] = other.result
        chain.append(equation)
        if len(chain) == n_steps:
            return chain
    return None


def _spoilt(chain: Sequence[Equation], moved: dict[int, int], rng: random.Random) -> list[Equation] | None:
    """The chain with a slip that is carried on, or with an operand made up; None where that leads nowhere."""
    place = rng.randrange(len(chain))
    right = chain[place]
    if rng.random() < _SLIPS:
        wrong = Equation(right.left, right.operator, right.right, right.result + rng.choice(_OFF))
    else:
        made_up = rng.choice([value for value in _MADE_UP if value not in moved])
        result = worked_out(right.left, right.operator, made_up)
        if result is None:
            return None
        wrong = Equation(right.left, right.operator, made_up, result)
    if not 2 <= wrong.result <= LARGEST or wrong.result in moved:
        return None
    instead, spoilt = {right.result: wrong.result}, [*chain[:place], wrong]
    for one in chain[place + 1 :]:
        carried = carried_equation(instead.get(one.left, one.left), one.operator, instead.get(one.right, one.right))
        if carried is None or carried.result > LARGEST:
            return None
        instead[one.result] = carried.result
        spoilt.append(carried)
    return spoilt
