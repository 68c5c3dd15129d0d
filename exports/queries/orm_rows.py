"""Rows of an outcome reward model, and of the Best-of-N test file: solutions with their outcome."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.models import Problem, Solution

from .selection import (
    Counts,
    Page,
    RowLimits,
    Selection,
    SetRow,
    TextForm,
    TrainingSet,
    is_selected,
    joint_licence,
    pages,
    source_name,
    whole_text,
)


def orm_set(selection: Selection, *, text: TextForm = "steps") -> TrainingSet:
    """Outcomes for an outcome reward model."""
    return TrainingSet(
        "orm", selection, {"text": text}, lambda session, _, counts: orm_rows(session, selection, text, counts)
    )


def best_of_n_set(selection: Selection, *, text: TextForm = "steps") -> TrainingSet:
    """The Best-of-N test file."""
    return TrainingSet(
        "best_of_n",
        selection,
        {"text": text},
        lambda session, _, counts: best_of_n_rows(session, selection, text, counts),
    )


def orm_rows(session: Session, selection: Selection, text: TextForm, counts: Counts) -> Iterator[SetRow]:
    """Yields a row for each solution whose outcome is known, ordered by problem and solution."""
    limits = RowLimits(selection, counts)
    for row in _solutions(session, selection):
        counts.n_read += 1
        completion = whole_text(row, text)
        if row.outcome is None:
            counts.dropped["outcome_unknown"] += 1
        elif not completion:
            counts.dropped["empty"] += 1
        elif limits.takes(row.problem_id, completion):
            yield SetRow(
                family=row.family,
                row={"prompt": row.statement, "completion": completion, "label": row.outcome},
                source=source_name(row),
                licence=row.licence,
                trust=row.reference_trust,
            )


def best_of_n_rows(session: Session, selection: Selection, text: TextForm, counts: Counts) -> Iterator[SetRow]:
    """Yields a row for each problem with its solutions of known outcome, the first `max_per_problem` of them.

    Equal samples stay: their number is part of what Best-of-N measures.
    """
    for _, group in groupby(_solutions(session, selection), key=lambda row: row.problem_id):
        counts.n_read += 1
        solutions = list(group)
        known = [row for row in solutions if row.outcome is not None and whole_text(row, text)]
        counts.more["solutions_without_outcome"] += len(solutions) - len(known)
        kept = known[: selection.max_per_problem]
        counts.more["solutions_over_max_per_problem"] += len(known) - len(kept)
        if not kept:
            counts.dropped["no_outcome_known"] += 1
            continue
        yield SetRow(
            family=kept[0].family,
            row={
                "prompt": kept[0].statement,
                "answers": [whole_text(row, text) for row in kept],
                "labels": [int(row.outcome) for row in kept],
            },
            source=source_name(*kept),
            licence=joint_licence([row.licence for row in kept]),
            trust=kept[0].reference_trust,
        )


def solutions_of_page(page: Page, selection: Selection) -> sa.Select[*tuple[Any, ...]]:
    """Solutions with their problem's statement and family, ordered by problem and solution."""
    return (
        sa.select(
            Solution.solution_id,
            Solution.problem_id,
            Solution.text,
            Solution.text_hash,
            Solution.steps,
            Solution.answer,
            Solution.outcome,
            Solution.source,
            Solution.run_id,
            Solution.licence,
            Problem.statement,
            Problem.statement_hash,
            Problem.family,
            Problem.reference_trust,
        )
        .join(Problem, Problem.problem_id == Solution.problem_id)
        .where(page.holds(Solution.problem_id), is_selected(selection))
        .order_by(Solution.problem_id, Solution.solution_id)
    )


def _solutions(session: Session, selection: Selection) -> Iterator[Any]:
    for page in pages(session):
        yield from session.execute(solutions_of_page(page, selection)).all()
