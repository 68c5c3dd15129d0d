"""Rows of an outcome reward model, and of the Best-of-N test file: solutions with their outcome."""

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter

from sqlalchemy.orm import Session

from .ahead import read_ahead
from .selection import (
    Counts,
    ProblemText,
    RowLimits,
    Selection,
    SetRow,
    TextForm,
    TrainingSet,
    WholeSolution,
    joint_licence,
    licence_refusal,
    pages,
    problem_texts,
    source_name,
    trace_of,
    whole_solutions,
)


def orm_set(selection: Selection, *, text: TextForm = "steps") -> TrainingSet:
    """Outcomes for an outcome reward model."""
    return TrainingSet(
        "orm",
        selection,
        {"text": text},
        lambda session, _, counts: orm_rows(session, selection, text, counts),
        class_of=lambda row: bool(row.row["label"]),
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
    for solutions, texts in read_ahead(session, _read_pages(session, selection, text)):
        for row in solutions:
            counts.n_read += 1
            if row.outcome is None:
                counts.dropped["outcome_unknown"] += 1
            elif not row.text:
                counts.dropped["empty"] += 1
            elif (refusal := licence_refusal(selection, row.licence)) is not None:
                counts.dropped[refusal] += 1
            elif limits.takes(row.problem_id, row.text):
                problem = texts[row.problem_id]
                yield SetRow(
                    family=problem.family,
                    row={"prompt": problem.statement, "completion": row.text, "label": row.outcome},
                    source=source_name(row),
                    licence=row.licence,
                    trust=problem.trust,
                    trace=trace_of(row) | {"rule": row.outcome_rule or "outcome"},
                )


def best_of_n_rows(session: Session, selection: Selection, text: TextForm, counts: Counts) -> Iterator[SetRow]:
    """Yields a row for each problem with its solutions of known outcome, the first `max_per_problem` of them.

    Equal samples stay: their number is part of what Best-of-N measures.
    """
    for found, texts in read_ahead(session, _read_pages(session, selection, text)):
        for problem_id, group in groupby(found, key=attrgetter("problem_id")):
            counts.n_read += 1
            solutions, known = list(group), list[WholeSolution]()
            for row in solutions:
                if row.outcome is None or not row.text:
                    counts.more["solutions_without_outcome"] += 1
                elif (refusal := licence_refusal(selection, row.licence)) is not None:
                    counts.more[f"solutions_{refusal}"] += 1
                else:
                    known.append(row)
            kept = known[: selection.max_per_problem]
            counts.more["solutions_over_max_per_problem"] += len(known) - len(kept)
            if not kept:
                counts.dropped["no_outcome_known"] += 1
                continue
            yield SetRow(
                family=texts[problem_id].family,
                row={
                    "prompt": texts[problem_id].statement,
                    "answers": [row.text for row in kept],
                    "labels": [int(row.outcome or False) for row in kept],
                },
                source=source_name(*kept),
                licence=joint_licence([row.licence for row in kept]),
                trust=texts[problem_id].trust,
                trace=trace_of(*kept) | {"rule": "outcomes"},
            )


def _read_pages(
    session: Session, selection: Selection, text: TextForm
) -> Iterator[tuple[list[WholeSolution], dict[int, ProblemText]]]:
    """Yields the solutions of each page with the texts of their problems."""
    for page in pages(session):
        found = whole_solutions(session, page, selection, text)
        yield found, problem_texts(session, {row.problem_id for row in found})
