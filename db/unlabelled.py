"""Solutions that a labeller has not labelled yet: what a program that labels works through."""

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from .connect import reading
from .models import Annotation, Annotator, Problem, Solution
from .selection import solution_in_source

_BATCH = 4000


@dataclass(frozen=True, slots=True)
class UnlabelledSolution:
    """What a labeller must see of a solution."""

    solution_id: int
    statement: str
    steps: tuple[str, ...]
    answer: str | None


def _unlabelled(annotator: str, source: str | None) -> sa.ColumnElement[bool]:
    annotator_id = sa.select(Annotator.annotator_id).where(Annotator.name == annotator).scalar_subquery()
    labelled = sa.exists().where(
        Annotation.solution_id == Solution.solution_id,
        Annotation.annotator_id == annotator_id,
        Annotation.superseded_by_id.is_(None),
    )
    return sa.and_(~labelled, solution_in_source(source))


def count_unlabelled(engine: sa.Engine, annotator: str, *, source: str | None = None) -> int:
    """How many solutions `unlabelled_solutions` will yield."""
    with reading(engine) as session:
        query = sa.select(sa.func.count()).select_from(Solution).where(_unlabelled(annotator, source))
        return session.scalar(query) or 0


def unlabelled_solutions(
    engine: sa.Engine, annotator: str, *, source: str | None = None
) -> Iterator[list[UnlabelledSolution]]:
    """Yields, in batches ordered by id, the solutions on which this labeller has no current annotation.

    Args:
        engine: The database.
        annotator: Name of the labeller, who need not exist yet.
        source: Only problems of sources that match this pattern.
    """
    last = 0
    while True:
        with reading(engine) as session:
            rows = session.execute(
                sa.select(Solution.solution_id, Problem.statement, Solution.steps, Solution.answer)
                .join(Problem, Problem.problem_id == Solution.problem_id)
                .where(Solution.solution_id > last, _unlabelled(annotator, source))
                .order_by(Solution.solution_id)
                .limit(_BATCH)
            ).all()
        if not rows:
            return
        last = rows[-1].solution_id
        yield [UnlabelledSolution(r.solution_id, r.statement, tuple(r.steps), r.answer) for r in rows]
