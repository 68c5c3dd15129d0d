"""The exact checker of the embedded domain: step labels and outcomes without a person or a model.

It knows one right chain for every problem and holds a solution's steps against it in order; the two sides of a
sum or product may be swapped. A chain that reaches the answer by another way is labelled wrong at the first
step that leaves the right one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .problems import DomainProblem, Equation

StepFault = Literal["unreadable", "arithmetic", "rule", "superfluous"]
"""What is wrong with a step: no equation; right operands and wrong result; other operands or operator than the
problem asks for here; a step after the last one that is needed."""

_OPERATORS: dict[str, Literal["+", "-", "*", "/"]] = {
    "+": "+",
    "-": "-",
    "−": "-",
    "*": "*",
    "×": "*",
    "/": "/",
    "÷": "/",
}
_EQUATION = re.compile(r"([0-9]{1,9}) ?([-−+*×/÷]) ?([0-9]{1,9}) ?= ?([0-9]{1,9})\.?")
_ANSWER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class SolutionCheck:
    """What the checker says of a whole solution."""

    step_labels: tuple[int | None, ...]
    """As `check_steps` returns them."""
    outcome: bool | None
    """As `check_answer` returns it."""
    fault: StepFault | None
    """What is wrong with the first wrong step; None where no step is wrong."""

    @property
    def is_right(self) -> bool:
        """True where the answer is right and no step is wrong."""
        return self.outcome is True and self.fault is None

    @property
    def is_right_by_wrong_steps(self) -> bool:
        """True where the answer is right although a step is wrong."""
        return self.outcome is True and self.fault is not None


def read_step(step: str) -> Equation | None:
    """Reads a bare step as an equation; None where it is none.

    >>> read_step("9 + 7 = 16")
    Equation(left=9, operator='+', right=7, result=16)
    >>> read_step("so there are 16") is None
    True
    """
    match = _EQUATION.fullmatch(step.strip())
    if match is None:
        return None
    left, operator, right, result = match.groups()
    return Equation(int(left), _OPERATORS[operator], int(right), int(result))


def check_step(expected: Equation | None, step: str) -> StepFault | None:
    """Holds one bare step against the expected one (None: the chain is already complete).

    >>> check_step(Equation(9, "+", 7, 16), "7 + 9 = 16") is None
    True
    >>> check_step(Equation(9, "+", 7, 16), "9 + 7 = 15"), check_step(Equation(9, "+", 7, 16), "9 - 7 = 2")
    ('arithmetic', 'rule')
    """
    if expected is None:
        return "superfluous"
    found = read_step(step)
    if found is None:
        return "unreadable"
    if _operation(found) != _operation(expected):
        return "rule"
    return None if found.result == expected.result else "arithmetic"


def check_steps(problem: DomainProblem, steps: Sequence[str]) -> tuple[int | None, ...]:
    """Labels bare steps: +1 while they are right, -1 at the first wrong one, None after it.

    A chain that breaks off early has only right steps; its answer is what is wrong with it. A step that is left
    out shows as a wrong rule at the step that stands in its place.
    """
    labels = list[int | None]()
    for index, step in enumerate(steps):
        fault = check_step(_expected(problem, index), step)
        labels.append(1 if fault is None else -1)
        if fault is not None:
            break
    return (*labels, *[None] * (len(steps) - len(labels)))


def check_answer(problem: DomainProblem, answer: str | None) -> bool | None:
    """Says if a final answer is right; None where there is none, or none that is a number.

    >>> from generator.domain import parse_problem
    >>> problem = parse_problem("Mia has 9 nuts. She loses 5 nuts. How many nuts are there now?")
    >>> check_answer(problem, "4"), check_answer(problem, "5"), check_answer(problem, "four")
    (True, False, None)
    """
    if answer is None or _ANSWER.fullmatch(answer.strip()) is None:
        return None
    return int(answer) == int(problem.answer)


def check_solution(problem: DomainProblem, steps: Sequence[str], answer: str | None) -> SolutionCheck:
    """Checks a whole solution: its steps, its answer, and what is wrong first."""
    labels = check_steps(problem, steps)
    fault: StepFault | None = None
    if -1 in labels:
        first_error = labels.index(-1)
        fault = check_step(_expected(problem, first_error), steps[first_error])
    return SolutionCheck(labels, check_answer(problem, answer), fault)


def _expected(problem: DomainProblem, index: int) -> Equation | None:
    return problem.equations[index] if index < len(problem.equations) else None


def _operation(equation: Equation) -> tuple[str, int, int]:
    """What is worked out, without the result; the sides of sums and products in one order."""
    sides = (equation.left, equation.right)
    if equation.operator in "+*":
        sides = (min(sides), max(sides))
    return equation.operator, *sides
