"""What judges said of solutions (verdicts of critiques that only judge, several of one solution being votes) and of
critiques, beside what people said of these.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from stepmark.agreement.judges import JudgedCritique

from .connect import reading
from .models import Annotation, Annotator, Critique, CritiqueJudgement, Solution
from .selection import check_sources, name_like, solution_in_source

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


def judged_critiques(engine: sa.Engine, *, source: str | None = None) -> Iterator[JudgedCritique]:
    """Yields the verdicts of models on critiques on which people have a majority, in the order of their ids.

    A critique that people hold to be right is so by more than half of those who judged it; where they are divided
    evenly, nothing is known of it and it is left out.

    Args:
        engine: The database.
        source: Only of solutions of sources that match this pattern.

    Raises:
        InputError: No source is named so.
    """
    target = aliased(Critique)
    n_right = sa.func.sum(sa.case((CritiqueJudgement.judgement == "right", 1), else_=0))
    n_all = sa.func.count()
    people = (
        sa.select(CritiqueJudgement.critique_id, n_right.label("n_right"), n_all.label("n"))
        .join(Annotation, Annotation.annotation_id == CritiqueJudgement.annotation_id)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .where(Annotator.kind == "person", Annotation.superseded_by_id.is_(None))
        .group_by(CritiqueJudgement.critique_id)
        .having(n_right * 2 != n_all)
        .subquery()
    )
    query = (
        sa.select(
            Critique.critic.label("judge"),
            target.critic,
            Critique.verdict,
            (people.c.n_right * 2 > people.c.n).label("people"),
            sa.func.length(target.text).label("length"),
            sa.func.length(Solution.text).label("solution_length"),
            Solution.problem_id,
        )
        .join(target, target.critique_id == Critique.target_critique_id)
        .join(people, people.c.critique_id == target.critique_id)
        .join(Solution, Solution.solution_id == target.solution_id)
        .where(solution_in_source(source))
        .order_by(Critique.critique_id)
        .execution_options(yield_per=1000)
    )
    with reading(engine) as session:
        if source is not None:
            check_sources(session, [source])
        for row in session.execute(query):
            yield JudgedCritique(
                row.judge or "unnamed",
                row.critic or "unnamed",
                row.problem_id,
                {"pass": True, "fail": False}.get(row.verdict),
                bool(row.people),
                row.length,
                row.solution_length,
            )
