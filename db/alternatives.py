"""Alternatives to steps of solutions: where they are wanted, and storing them once each."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .bulk import bulk_insert, table_of
from .connect import reading
from .models import Alternative, Annotation, Annotator, Solution
from .selection import name_like, tells_first_error

_ALTERNATIVES = table_of(Alternative)
_CHUNK = 500


def has_alternatives(run_id: int) -> sa.ColumnElement[bool]:
    """The condition that a solution has alternatives of this run; all of them are stored at once."""
    return sa.exists().where(Alternative.solution_id == Solution.solution_id, Alternative.run_id == run_id)


def first_errors(
    engine: sa.Engine, solution_ids: Collection[int], *, annotator: str | None = None
) -> dict[int, tuple[int, ...]]:
    """The first errors that current step labels name, each once, ascending; solutions without any are left out.

    Args:
        engine: The database.
        solution_ids: As many as you like.
        annotator: Only by labellers of this name, or pattern with `*`.
    """
    query = (
        sa.select(Annotation.solution_id, Annotation.first_error)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .where(tells_first_error(), Annotation.superseded_by_id.is_(None), Annotation.first_error.is_not(None))
    )
    if annotator is not None:
        query = query.where(name_like(Annotator.name, annotator))
    found: dict[int, set[int]] = defaultdict(set)
    with reading(engine) as session:
        for chunk in _chunks(solution_ids):
            for solution_id, first_error in session.execute(query.where(Annotation.solution_id.in_(chunk))):
                assert first_error is not None
                found[solution_id].add(first_error)
    return {solution_id: tuple(sorted(errors)) for solution_id, errors in found.items()}


def add_alternatives(session: Session, rows: Sequence[Mapping[str, Any]]) -> int:
    """Adds alternatives whose text is not there yet for the step, by any run; returns how many were new.

    Args:
        session: Of one unit of writing.
        rows: Values of rows of `alternatives`, all of the same columns.
    """
    there: set[tuple[int, int, str]] = set()
    for chunk in _chunks({row["solution_id"] for row in rows}):
        query = sa.select(Alternative.solution_id, Alternative.step_index, Alternative.text)
        there |= {(*row,) for row in session.execute(query.where(Alternative.solution_id.in_(chunk)))}
    new = []
    for row in rows:
        key = (row["solution_id"], row["step_index"], row["text"])
        if key not in there:
            there.add(key)
            new.append(row)
    bulk_insert(session, _ALTERNATIVES, new)
    return len(new)


def _chunks(ids: Collection[int]) -> Iterator[list[int]]:
    ordered = sorted(ids)
    for start in range(0, len(ordered), _CHUNK):
        yield ordered[start : start + _CHUNK]
