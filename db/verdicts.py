"""What judges said of solutions: the verdicts of critiques that only judge, several of one solution being votes."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .models import Critique, Solution
from .selection import name_like

JUDGE = "judge"
"""The kind of these critiques."""
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """One verdict on a solution."""

    verdict: str
    """`pass`, `fail` or `unreadable`."""
    first_error: int | None
    """0-based; None where it names no step."""


def judges_verdicts(
    session: Session, solution_ids: Collection[int], *, critic: str | None = None
) -> dict[int, list[Verdict]]:
    """The verdicts of judges on these solutions, on their own problems; solutions without any are left out.

    Args:
        session: Reads.
        solution_ids: As many as you like.
        critic: Only by this model, or pattern with `*`; None takes every judge's.
    """
    query = (
        sa.select(Critique.solution_id, Critique.verdict, Critique.first_error)
        .join(Solution, Solution.solution_id == Critique.solution_id)
        .where(
            Critique.kind == JUDGE,
            Critique.target_critique_id.is_(None),
            Critique.problem_id == Solution.problem_id,
        )
        .order_by(Critique.critique_id)
    )
    if critic is not None:
        query = query.where(name_like(Critique.critic, critic))
    found: dict[int, list[Verdict]] = defaultdict(list)
    ids = list(solution_ids)
    for start in range(0, len(ids), _CHUNK):
        chunk = query.where(Critique.solution_id.in_(ids[start : start + _CHUNK]))
        for solution_id, verdict, first_error in session.execute(chunk):
            found[solution_id].append(Verdict(verdict, first_error))
    return dict(found)
