"""Tasks that several people answered: which differ most, what each said, and what a reviewer decides.

Of several decisions on one thing the latest stands. A reviewer who decides again takes the own earlier row away; what
it said stays in the events. Annotators whose answer a decision changes are told.
"""

from .contested import Contested, contested_tasks, count_contested
from .steps import Answer, Case, Decision, decide, get_case
from .whole import (
    Criticism,
    Side,
    WholeAnswer,
    WholeCase,
    WholeDecision,
    decide_whole,
    get_whole_case,
    standing_decisions,
)

__all__ = [
    "Answer",
    "Case",
    "Contested",
    "Criticism",
    "Decision",
    "Side",
    "WholeAnswer",
    "WholeCase",
    "WholeDecision",
    "contested_tasks",
    "count_contested",
    "decide",
    "decide_whole",
    "get_case",
    "get_whole_case",
    "standing_decisions",
]
