"""What a run is about, beside problems: solutions in the order of their ids, each with its problem."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from .connect import reading
from .models import Problem, Solution
from .selection import check_sources, name_like, solution_in_source

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class SolutionSelection:
    """Which solutions a run is about."""

    source: str | None = None
    """Problems or solutions of this source; a pattern may hold `*`. None takes all."""
    generator: str | None = None
    """Only solutions by this model, or pattern with `*`."""
    outcome: bool | None = None
    """Only right (True) or wrong (False) ones; None takes all, also those of unknown outcome."""
    limit: int | None = None
    """The first so many solutions."""
    unique_texts: bool = True
    """Of equal solutions of one problem, only the first."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A solution with its problem, as a task needs them."""

    solution_id: int
    problem_id: int
    statement: str
    statement_hash: str
    reference_answer: str | None
    steps: tuple[str, ...]
    answer: str | None
    text: str
    outcome: bool | None
    generator: str | None
    answer_kind: str = "value"
    """One of `ANSWER_KINDS`: how the reference answer is to be held against others."""


def count_subjects(
    engine: sa.Engine, selection: SolutionSelection, *, unless: sa.ColumnElement[bool] | None = None
) -> int:
    """How many solutions `iterate_subjects` yields.

    Raises:
        InputError: No source is named as the selection says.
    """
    query = _ids(selection)
    if selection.limit is not None:
        query = query.order_by(Solution.solution_id).limit(selection.limit)
    chosen = query.subquery()
    counted = (
        sa.select(sa.func.count()).select_from(Solution).join(chosen, chosen.c.solution_id == Solution.solution_id)
    )
    if unless is not None:
        counted = counted.where(~unless)
    with reading(engine) as session:
        if selection.source is not None:
            check_sources(session, [selection.source])
        return session.scalar(counted) or 0


def iterate_subjects(
    engine: sa.Engine, selection: SolutionSelection, *, unless: sa.ColumnElement[bool] | None = None
) -> Iterator[list[Subject]]:
    """Yields solutions in chunks; no transaction stays open between two chunks.

    Args:
        engine: The database.
        selection: Which.
        unless: A condition on `Solution` (an `EXISTS`, say) under which one is left out, as done already. The limit
            counts before it, so that a resumed run is about the same solutions.
    """
    after, left = 0, selection.limit
    columns = sa.select(
        Solution.solution_id,
        Solution.problem_id,
        Problem.statement,
        Problem.statement_hash,
        Problem.reference_answer,
        Solution.steps,
        Solution.answer,
        Solution.text,
        Solution.outcome,
        Solution.generator,
        Problem.answer_kind,
        (sa.literal(False) if unless is None else unless).label("is_done"),
    ).join(Problem, Problem.problem_id == Solution.problem_id)
    while left is None or left > 0:
        ids = _ids(selection).where(Solution.solution_id > after).order_by(Solution.solution_id)
        chosen = ids.limit(_CHUNK if left is None else min(_CHUNK, left)).subquery()
        query = columns.join(chosen, chosen.c.solution_id == Solution.solution_id).order_by(Solution.solution_id)
        with reading(engine) as session:
            rows = session.execute(query).all()
        if not rows:
            return
        after = rows[-1].solution_id
        left = None if left is None else left - len(rows)
        yield [_subject(row) for row in rows if not row.is_done]


def selected_ids(selection: SolutionSelection) -> sa.Select[int]:
    """The ids of the solutions of a selection, in no order; its limit is not looked at."""
    return _ids(selection)


def _ids(selection: SolutionSelection) -> sa.Select[int]:
    query = sa.select(Solution.solution_id).where(solution_in_source(selection.source))
    if selection.generator is not None:
        query = query.where(name_like(Solution.generator, selection.generator))
    if selection.outcome is not None:
        query = query.where(Solution.outcome.is_(selection.outcome))
    if selection.unique_texts:
        other = aliased(Solution)
        earlier = sa.select(other.solution_id).where(
            other.problem_id == Solution.problem_id,
            other.text_hash == Solution.text_hash,
            other.solution_id < Solution.solution_id,
        )
        query = query.where(~earlier.exists())
    return query


def _subject(row: Any) -> Subject:
    *values, _is_done = row
    solution_id, problem_id, statement, statement_hash, reference, steps, *others = values
    return Subject(solution_id, problem_id, statement, statement_hash, reference, tuple(steps), *others)
