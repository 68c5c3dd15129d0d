"""The teacher of the embedded domain: writes solutions, clean ones and ones that misread a sentence.

A misreading is a rule that is wrong in the same way each time, as a pupil's would be: `k bags of n` read as n
more, `k times as many more` as k times as many, `k times as many` as k more, `half` as 2 less. The arithmetic
is always right, except that half of an odd number is rounded down.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from stepmark.steps import render_solution

from .problems import LARGEST, DomainProblem, Equation, Event, event_equations
from .wordings import Kind

MISREADING_RATES: Mapping[Kind, float] = {"bags": 0.30, "more": 0.55, "times": 0.28, "half": 0.28}
"""How often each kind of sentence is misread by the teacher of the embedded model's second phase."""

_TRIES = 10


@dataclass(frozen=True, slots=True)
class TaughtSolution:
    """A solution that the teacher wrote."""

    steps: tuple[str, ...]
    """Bare steps."""
    answer: str
    first_error: int | None
    """Where the first misreading shows, as the teacher planted it; None in a clean solution. `len(steps)` where
    only the answer can show it: a chain that ends by leaving out its last sum."""

    @property
    def text(self) -> str:
        """The solution as stepmark renders it."""
        return render_solution(self.steps, self.answer)


def teach(problem: DomainProblem) -> TaughtSolution:
    """Writes the clean solution."""
    return TaughtSolution(problem.steps, problem.answer, None)


def teach_misread(problem: DomainProblem, misread: frozenset[int]) -> TaughtSolution | None:
    """Writes the solution of someone who misreads the events with the indices `misread`.

    None where an event's kind has no misreading, or where a value would leave 0 to 60.
    """
    value, equations, first_error = problem.start, list[Equation](), None
    for index, event in enumerate(problem.events):
        if index in misread:
            equation = _misreading(event, value)
            if equation is None:
                return None
            equations.append(equation)
            if first_error is None:
                first_error = len(equations) - (0 if event.kind == "more" else 1)
        else:
            equations += event_equations(event.kind, value, event.numbers)
        value = equations[-1].result
        if not 0 <= value <= LARGEST:
            return None
    return TaughtSolution(tuple(str(equation) for equation in equations), str(value), first_error)


def teach_with_misreadings(
    problem: DomainProblem, rng: random.Random, rates: Mapping[Kind, float] = MISREADING_RATES
) -> TaughtSolution:
    """Writes a solution in which every event is misread at its kind's rate, independently.

    Sets of misreadings that lead outside 0 to 60 are drawn again; after ten the solution is clean.
    """
    for _ in range(_TRIES):
        misread = frozenset(
            index for index, event in enumerate(problem.events) if rng.random() < rates.get(event.kind, 0.0)
        )
        solution = teach_misread(problem, misread)
        if solution is not None:
            return solution
    return teach(problem)


def _misreading(event: Event, value: int) -> Equation | None:
    """The one step that a misread event becomes; None for kinds that nobody misreads.

    A misread `more` is its first step alone, right in itself: the sum that is left out shows in the step after.
    """
    if event.kind == "bags":
        return Equation(value, "+", event.numbers[1], value + event.numbers[1])
    if event.kind == "more":
        return Equation(value, "*", event.numbers[0], value * event.numbers[0])
    if event.kind == "times":
        return Equation(value, "+", event.numbers[0], value + event.numbers[0])
    if event.kind == "half":
        return Equation(value, "-", 2, value - 2)
    return None
