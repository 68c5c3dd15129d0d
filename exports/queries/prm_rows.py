"""Rows of a process reward model: a solution's segments with a label each, from step annotations.

A row goes as far as the labels do: it ends before the first step that nobody judged, and, where nothing is said
of what follows an error, at the first wrong step (Lightman et al. 2023; ProcessBench). A solution whose steps are
all right ends in its answer section, labelled with the outcome.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.models import Adjudication, Annotation, Annotator, Problem, Solution, StepLabel
from db.selection import is_label_data
from stepmark.steps import render_answer, render_segments

from .selection import Counts, Page, RowLimits, Selection, SetRow, TrainingSet, is_selected, pages, source_name


@dataclass(frozen=True, slots=True)
class PrmOptions:
    """The choices on which tools disagree."""

    neutral: Literal["positive", "negative", "drop"] = "positive"
    """What a step labelled 0 becomes; `drop` ends the row before it."""
    after_first_error: Literal["stop", "all"] = "stop"
    """End the row at its first false label, or go on as far as there are labels."""
    annotators: tuple[str, ...] = ()
    """Only labels by these; empty: by all."""
    annotator_kinds: tuple[str, ...] = ()
    """Only labels by `person`, `program` or `model`; empty: by all."""
    labellers: Literal["each", "majority"] = "each"
    """A row for each labeller, or one for each solution by the majority of those who judged a step."""
    answer_segment: bool = True
    """End a solution whose steps are all right in its answer section, where its outcome is known."""


def prm_set(selection: Selection, options: PrmOptions | None = None) -> TrainingSet:
    """Step labels for a process reward model."""
    chosen = options or PrmOptions()
    return TrainingSet(
        "prm", selection, asdict(chosen), lambda session, _, counts: prm_rows(session, selection, chosen, counts)
    )


def prm_rows(session: Session, selection: Selection, options: PrmOptions, counts: Counts) -> Iterator[SetRow]:
    """Yields rows ordered by problem, solution and annotation, and counts what is left out."""
    limits = RowLimits(selection, counts)
    for page in pages(session):
        annotations = session.execute(_annotations(page, selection, options)).all()
        labels = _labels(session, page, selection, options)
        if options.labellers == "each":
            candidates = (
                (row, row.annotator_id, row.finish_reason, labels.get(row.annotation_id, {})) for row in annotations
            )
        else:
            decided = _adjudicated(session, page)
            candidates = (
                (rows[-1], "majority", None, _majority(rows, labels, decided))
                for rows in (list(group) for _, group in groupby(annotations, key=lambda row: row.solution_id))
            )
        for row, labeller, finish_reason, judged in candidates:
            counts.n_read += 1
            if finish_reason in ("bad_problem", "skipped"):
                counts.dropped[finish_reason] += 1
                continue
            if options.labellers == "majority" and not judged and row.segments is not None:
                counts.dropped["steps_split_or_merged"] += 1
                continue
            cells = _cells(row, judged, options, gave_up=finish_reason == "give_up")
            if isinstance(cells, str):
                counts.dropped[cells] += 1
                continue
            completions, marks = cells
            if limits.takes(row.problem_id, labeller, *completions):
                yield SetRow(
                    family=row.family,
                    row={"prompt": row.statement, "completions": completions, "labels": marks},
                    source=source_name(row),
                    licence=row.licence,
                    trust=row.reference_trust,
                    trace={"solution_ids": [row.solution_id]},
                )


def _cells(
    row: Any, judged: Mapping[int, int | None], options: PrmOptions, *, gave_up: bool
) -> tuple[list[str], list[bool]] | str:
    """Completions and labels, or the reason why there are none."""
    marks: list[bool] = []
    steps = row.steps if row.segments is None or options.labellers == "majority" else row.segments
    for index in range(len(steps)):
        label = judged.get(index)
        if label is None or (label == 0 and options.neutral == "drop"):
            break
        marks.append(label > 0 or (label == 0 and options.neutral == "positive"))
        if not marks[-1] and options.after_first_error == "stop":
            break
    if not marks:
        return _reason(steps, judged)
    completions = render_segments(steps[: len(marks)], None)
    if options.answer_segment and row.answer is not None and len(marks) == len(steps):
        answer_label = judged.get(len(steps))
        is_right = None if gave_up else row.outcome if all(marks) else None
        if answer_label is not None and (all(marks) or options.after_first_error == "all"):
            is_right = answer_label > 0
        if is_right is not None:
            completions.append(render_answer(row.answer))
            marks.append(is_right)
    return completions, marks


def _reason(steps: Sequence[str], judged: Mapping[int, int | None]) -> str:
    if not steps:
        return "no_steps"
    if 0 not in judged:
        return "first_step_unjudged"
    return "first_step_tied" if judged[0] is None else "first_step_neutral"


def _annotations(page: Page, selection: Selection, options: PrmOptions) -> sa.Select[*tuple[Any, ...]]:
    return _joined(
        sa.select(
            Annotation.annotation_id,
            Annotation.annotator_id,
            Annotation.task_id,
            Annotation.finish_reason,
            Annotation.segments,
            Solution.solution_id,
            Solution.problem_id,
            Solution.steps,
            Solution.answer,
            Solution.outcome,
            Solution.source,
            Solution.run_id,
            Solution.licence,
            Problem.statement,
            Problem.family,
            Problem.reference_trust,
        ),
        page,
        selection,
        options,
    ).order_by(Solution.problem_id, Solution.solution_id, Annotation.annotation_id)


def _joined(
    query: sa.Select[*tuple[Any, ...]], page: Page, selection: Selection, options: PrmOptions
) -> sa.Select[*tuple[Any, ...]]:
    query = (
        query.select_from(Solution)
        .join(Annotation, Annotation.solution_id == Solution.solution_id)
        .join(Problem, Problem.problem_id == Solution.problem_id)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .where(
            page.holds(Solution.problem_id),
            is_selected(selection),
            Annotation.kind == "steps",
            Annotation.superseded_by_id.is_(None),
            is_label_data(),
        )
    )
    if options.annotators:
        query = query.where(Annotator.name.in_(options.annotators))
    if options.annotator_kinds:
        query = query.where(Annotator.kind.in_(options.annotator_kinds))
    return query


def _labels(
    session: Session, page: Page, selection: Selection, options: PrmOptions
) -> dict[int, dict[int, int | None]]:
    """Step labels of the page's annotations, by annotation and step."""
    found = session.execute(
        _joined(
            sa.select(StepLabel.annotation_id, StepLabel.step_index, StepLabel.label), page, selection, options
        ).join(StepLabel, StepLabel.annotation_id == Annotation.annotation_id)
    )
    labels: dict[int, dict[int, int | None]] = {}
    for annotation_id, step_index, label in found:
        labels.setdefault(annotation_id, {})[step_index] = label
    return labels


def _adjudicated(session: Session, page: Page) -> dict[int, dict[int, int]]:
    """What reviewers decided, by task and step; the latest decision stands."""
    found = session.execute(
        sa.select(Adjudication.task_id, Adjudication.step_index, Adjudication.label)
        .join(Annotation, Annotation.task_id == Adjudication.task_id)
        .join(Solution, Solution.solution_id == Annotation.solution_id)
        .where(page.holds(Solution.problem_id))
        .order_by(Adjudication.adjudication_id)
        .distinct()
        .add_columns(Adjudication.adjudication_id)
    )
    decided: dict[int, dict[int, int]] = {}
    for task_id, step_index, label, _ in found:
        decided.setdefault(task_id, {})[step_index] = label
    return decided


def _majority(
    annotations: Sequence[Any],
    labels: Mapping[int, Mapping[int, int | None]],
    decided: Mapping[int, Mapping[int, int]],
) -> dict[int, int | None]:
    """The label that more than half of a step's labellers gave, or a reviewer's; None where there is none."""
    latest = {row.annotator_id: row for row in annotations if row.finish_reason not in ("bad_problem", "skipped")}
    votes: dict[int, Counter[int]] = {}
    for row in latest.values():
        if row.segments is not None:
            continue
        for index, label in labels.get(row.annotation_id, {}).items():
            if label is not None:
                votes.setdefault(index, Counter())[label] += 1
    winners: dict[int, int | None] = {}
    for index, counted in votes.items():
        label, n = counted.most_common(1)[0]
        winners[index] = label if 2 * n > counted.total() else None
    for row in annotations:
        winners.update(decided.get(row.task_id, {}) if row.task_id is not None else {})
    return winners
