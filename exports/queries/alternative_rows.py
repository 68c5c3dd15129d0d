"""Rows of a process reward model from alternatives: the steps before one, and a candidate in its place.

Every labelled candidate is a row of its own, `prefix + candidate`, with the labels of the prefix by the same
labeller: PRM800K holds several times as many labels as steps on the chosen paths (Lightman et al. 2023).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from sqlalchemy.orm import Session

from exports.formats.columns import Column
from stepmark.steps import render_segments

from .derived_pairs import candidate_text, labelled_alternatives, step_labels
from .labels import BY_ANNOTATION, LabelFilter, check_labels, require_heeded
from .selection import Counts, RowLimits, Selection, SetRow, TrainingSet, pages, source_name, trace_of

Neutral = Literal["positive", "negative", "drop"]


def with_alternatives(
    prm: TrainingSet,
    *,
    neutral: Neutral = "positive",
    labels: LabelFilter | None = None,
) -> TrainingSet:
    """A set of step labels with rows for labelled alternatives behind its own; limits hold for each part.

    Raises:
        SettingsError: More is asked of labels than which annotations count: each label of an alternative is a row.
    """
    chosen = labels or LabelFilter()
    require_heeded(chosen, BY_ANNOTATION, "each label of an alternative makes a row of its own")

    def rows(session: Session, columns: tuple[Column, ...], counts: Counts) -> Iterator[SetRow]:
        yield from prm.rows(session, columns, counts)
        are_soft = any(column.name == "labels" and column.kind == "floats" for column in columns)
        check_labels(session, chosen)
        for row in alternative_rows(session, prm.selection, counts, neutral=neutral, labels=chosen):
            if are_soft:
                row.row["labels"] = [float(label) for label in row.row["labels"]]
            yield row

    return replace(prm, flags={**prm.flags, "alternatives": "rows"}, rows=rows)


def alternative_rows(
    session: Session,
    selection: Selection,
    counts: Counts,
    *,
    neutral: Neutral = "positive",
    labels: LabelFilter | None = None,
) -> Iterator[SetRow]:
    """Yields a row for each label of an alternative, ordered by problem, solution, step and labeller."""
    limits, wanted = RowLimits(selection, counts), labels or LabelFilter()
    for page in pages(session):
        prefixes = step_labels(session, page, selection, wanted)
        for row in session.execute(labelled_alternatives(page, selection, wanted)).all():
            counts.n_read += 1
            given = [*_before(row, prefixes.get(row.solution_id, {})), row.label]
            reason = row.refusal or _refusal(given, neutral)
            if reason is not None:
                counts.dropped[reason] += 1
                continue
            marks = [label == 1 or (label == 0 and neutral == "positive") for label in given]
            if not all(marks[:-1]):
                counts.dropped["alternative_after_an_error"] += 1
                continue
            completions = render_segments(row.steps[: row.step_index], None)
            completions.append(candidate_text(row.alternative, row.step_index, is_answer=row.is_answer))
            if limits.takes(row.problem_id, row.annotator_id, *completions):
                counts.more["rows_of_alternatives"] += 1
                yield SetRow(
                    family=row.family,
                    row={"prompt": row.statement, "completions": completions, "labels": marks},
                    source=source_name(row),
                    licence=row.licence,
                    trust=row.reference_trust,
                    trace=trace_of(row)
                    | {
                        "annotation_ids": [row.annotation_id],
                        "annotator_ids": [row.annotator_id],
                        "rule": "label of an alternative",
                    },
                )


def _refusal(labels: list[int | None], neutral: Neutral) -> str | None:
    if None in labels:
        return "prefix_unjudged"
    if neutral == "drop" and 0 in labels:
        return "alternative_neutral" if labels[-1] == 0 else "prefix_neutral"
    return None


def _before(row: Any, labels: Mapping[int, Mapping[int, int]]) -> list[int | None]:
    """Labels of the steps before a candidate: the labeller's own, else what all others say whose labels count."""
    found: list[int | None] = []
    for index in range(row.step_index):
        given = labels.get(index, {})
        said = {given[row.annotation_id]} if row.annotation_id in given else set(given.values())
        found.append(said.pop() if len(said) == 1 else None)
    return found
