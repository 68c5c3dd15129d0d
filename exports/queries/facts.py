"""What layouts ask about the solutions of a row, fetched for many rows at once."""

from collections.abc import Iterable, Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.models import Problem, ProblemSource, Solution
from exports.formats.layouts import SolutionFacts

from .selection import SetRow

_ROWS = 500


def with_facts(
    session: Session, rows: Iterable[SetRow], *, are_needed: bool
) -> Iterator[tuple[SetRow, tuple[SolutionFacts, ...]]]:
    """Yields each row with what is known of its solutions, in the row's order; with nothing where nobody asks."""
    if not are_needed:
        for row in rows:
            yield row, ()
        return
    for chunk in _chunks(rows):
        found = solution_facts(session, {key for row in chunk for key in row.trace["solution_ids"]})
        for row in chunk:
            yield row, tuple(found[key] for key in row.trace["solution_ids"])


def solution_facts(session: Session, solution_ids: set[int]) -> dict[int, SolutionFacts]:
    """What is known of solutions beside their rendered text; at most a few hundred at once."""
    query = sa.select(
        Solution.solution_id,
        Solution.source_key,
        Solution.generator,
        Solution.steps,
        Solution.answer,
        Solution.outcome,
        Solution.extra,
        Problem.statement,
        ProblemSource.extra.label("source_extra"),
    ).join(Problem, Problem.problem_id == Solution.problem_id)
    query = query.outerjoin(
        ProblemSource,
        sa.and_(ProblemSource.source == Solution.source, ProblemSource.source_key == Solution.source_key),
    ).where(Solution.solution_id.in_(solution_ids))
    return {
        row.solution_id: SolutionFacts(
            key=row.source_key or f"solution/{row.solution_id}",
            statement=(row.source_extra or {}).get("statement", row.statement),
            generator=row.generator,
            steps=row.steps,
            answer=row.answer,
            outcome=row.outcome,
            extra=row.extra or {},
        )
        for row in session.execute(query)
    }


def _chunks(rows: Iterable[SetRow]) -> Iterator[Sequence[SetRow]]:
    chunk: list[SetRow] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
