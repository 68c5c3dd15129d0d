"""The embedded domain: word problems whose every step can be checked exactly, for demos and tests without a GPU.

`problems` draws, varies and reads them, `checker` labels the steps of solutions, `teacher` writes solutions,
`wordings` holds the sentences. Pure code: no model, database or network.
"""

from .checker import SolutionCheck, check_answer, check_solution, check_step, check_steps, read_step
from .problems import (
    DomainProblem,
    Equation,
    Event,
    Part,
    draw_problem,
    draw_problems,
    draw_variant,
    family_of,
    parse_problem,
    part_of,
    problem_record,
)
from .teacher import MISREADING_RATES, TaughtSolution, teach, teach_misread, teach_with_misreadings
from .wordings import Kind

__all__ = [
    "MISREADING_RATES",
    "DomainProblem",
    "Equation",
    "Event",
    "Kind",
    "Part",
    "SolutionCheck",
    "TaughtSolution",
    "check_answer",
    "check_solution",
    "check_step",
    "check_steps",
    "draw_problem",
    "draw_problems",
    "draw_variant",
    "family_of",
    "parse_problem",
    "part_of",
    "problem_record",
    "read_step",
    "teach",
    "teach_misread",
    "teach_with_misreadings",
]
