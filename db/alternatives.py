"""Alternatives to steps of solutions: where they are wanted, and storing them once each."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.records import AlternativeRecord

from .bulk import bulk_insert, is_among, reserve_ids, table_of
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


def add_imported_alternatives(
    session: Session, items: Sequence[tuple[AlternativeRecord, int, str]]
) -> tuple[list[int], int]:
    """Adds alternatives that are not there yet, by source and key; returns the ids of all, and how many were new.

    Args:
        session: Of one unit of writing.
        items: Each with the solution's id and the source.
    """
    ids: dict[tuple[str, str], int] = {}
    for source in {source for _, _, source in items}:
        keys = [record.source_key for record, _, of_source in items if of_source == source]
        found = session.execute(
            sa.select(Alternative.source_key, Alternative.alternative_id).where(
                Alternative.source == source, is_among(session, Alternative.source_key, keys)
            )
        )
        ids |= {(source, key): alternative_id for key, alternative_id in found if key is not None}
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for record, solution_id, source in items:
        if (source, record.source_key) not in ids:
            rows[source, record.source_key] = {
                "solution_id": solution_id,
                "step_index": record.step_index,
                "source": source,
                "source_key": record.source_key,
                "text": record.text,
                "is_answer": record.is_answer,
            }
    for (key, row), id_ in zip(rows.items(), reserve_ids(session, _ALTERNATIVES, len(rows)), strict=True):
        ids[key] = row["alternative_id"] = id_
    bulk_insert(session, _ALTERNATIVES, list(rows.values()))
    return [ids[source, record.source_key] for record, _, source in items], len(rows)


def _chunks(ids: Collection[int]) -> Iterator[list[int]]:
    ordered = sorted(ids)
    for start in range(0, len(ordered), _CHUNK):
        yield ordered[start : start + _CHUNK]
