"""Drills for a small critic: chains of nothing but look-ups and arithmetic, without a problem to be solved.

A model that can solve a problem lowers its loss on critiques by solving, and does not learn to copy. Here there is
nothing to solve: only the numbers, the new numbers, and a chain whose operands are drawn at random.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from .carrying import carried_equation
from .problems import LARGEST, Equation, Operator

_VALUES = range(2, 17)
_OPERATORS: Sequence[Operator] = ("+", "+", "-", "*", "/")


@dataclass(frozen=True, slots=True)
class Drill:
    """A chain to be carried, in the shape of a solution."""

    statement: str
    """Numbers alone."""
    variant: str
    """The numbers that stand in their places."""
    steps: tuple[str, ...]
    answer: str


def draw_drill(rng: random.Random) -> Drill:
    """Draws three to six numbers and a chain of two to five steps on them that can be carried to its end."""
    while True:
        n = rng.randint(3, 6)
        here, there = rng.sample(_VALUES, n), rng.sample(_VALUES, n)
        chain = _chain(dict(zip(here, there, strict=True)), rng.randint(2, 5), rng)
        if chain is not None:
            statement, variant = (",".join(map(str, numbers)) for numbers in (here, there))
            return Drill(statement, variant, tuple(map(str, chain)), str(chain[-1].result))


def _chain(moved: dict[int, int], n_steps: int, rng: random.Random) -> list[Equation] | None:
    chain = list[Equation]()
    for _ in range(20 * n_steps):
        known = list(moved)
        left = chain[-1].result if chain and rng.random() < 0.6 else rng.choice(known)
        right = rng.choice([value for value in known if value != left])
        operator = rng.choice(_OPERATORS)
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
