"""Step labels in PRM800K's own schema: one row for each annotation, with every candidate that it rates.

The ratings stay as they were given (-1, 0, 1); no choice of a training set (neutral steps, what follows an error)
touches them. What came from PRM800K goes out key for key as it came, with the ratings that the tables hold now.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from db.models import (
    Alternative,
    AlternativeLabel,
    Annotation,
    Annotator,
    Problem,
    ProblemSource,
    Solution,
    StepLabel,
    WrittenStep,
)
from db.secrets import pseudonyms
from exports.formats.columns import Kind
from exports.formats.layouts.steps import PRM800K
from stepmark.steps import render_answer

from .labels import BY_ANNOTATION, LabelFilter, are_label_data, check_labels, flags_of, label_refusal, require_heeded
from .selection import (
    Counts,
    Page,
    RowLimits,
    Selection,
    SetRow,
    TrainingSet,
    is_selected,
    pages,
    source_name,
    trace_of,
)
from .sources.prm800k import StoredRow, as_row

_CHUNK = 500
_ORIGIN = aliased(ProblemSource)
"""Apart from the sources by which solutions are selected."""


@dataclass(frozen=True, slots=True)
class _Rated:
    """What an annotation says beside its own columns."""

    labels: dict[int, int]
    written: dict[int, str]
    alternatives: dict[int, list[Any]]
    """By step, in the order of their ids."""


def prm800k_set(
    selection: Selection, labels: LabelFilter | None = None, *, annotator_names: bool = False
) -> TrainingSet:
    """Annotations of steps, for the layout `prm800k`; labellers have pseudonyms unless names are asked for.

    Raises:
        SettingsError: More is asked of labels than which annotations count: each is a row.
    """
    chosen = labels or LabelFilter()
    require_heeded(chosen, BY_ANNOTATION, "prm800k holds each annotation as it was given, whatever others say")

    def rows(session: Session, _: Any, counts: Counts) -> Iterator[SetRow]:
        check_labels(session, chosen)
        return prm800k_rows(session, selection, chosen, counts, annotator_names=annotator_names)

    flags = {**flags_of(chosen, heeded=BY_ANNOTATION), "labeler": "names" if annotator_names else "pseudonyms"}
    return TrainingSet("prm", selection, flags, rows, lambda session: PRM800K)


def prm800k_rows(
    session: Session, selection: Selection, labels: LabelFilter, counts: Counts, *, annotator_names: bool
) -> Iterator[SetRow]:
    """Yields a row for each annotation, ordered by problem, solution and annotation."""
    limits = RowLimits(selection, counts)
    pseudonym = None if annotator_names else lru_cache(maxsize=None)(pseudonyms(session.get_bind().engine))
    for page in pages(session):
        rows = session.execute(_annotations(page, selection, labels)).all()
        rated: dict[int, _Rated] = {}
        for start in range(0, len(rows), _CHUNK):
            rated |= _rated(session, [row.annotation_id for row in rows[start : start + _CHUNK]])
        for row in rows:
            counts.n_read += 1
            said = rated[row.annotation_id]
            if row.refusal is not None:
                counts.dropped[row.refusal] += 1
            elif row.finish_reason in (None, "skipped"):
                counts.dropped["skipped" if row.finish_reason else "not_labelled_to_an_end"] += 1
            elif not said.labels and not said.alternatives and row.finish_reason != "bad_problem":
                counts.dropped["no_labels"] += 1
            elif limits.takes(row.problem_id, row.annotation_id):
                cells = _as_it_came(row, said) if "row" in (row.extra or {}) else _as_prm800k(row, said)
                if pseudonym is not None:
                    cells["labeler"] = pseudonym(row.annotator_id)
                yield SetRow(
                    family=row.family,
                    row=cells,
                    source=source_name(row),
                    licence=row.licence,
                    trust=row.reference_trust,
                    trace=trace_of(row)
                    | {
                        "annotation_ids": [row.annotation_id],
                        "annotator_ids": [row.annotator_id],
                        "rule": "step labels",
                    },
                )


def _as_it_came(row: Any, said: _Rated) -> dict[str, Any]:
    """A row that was imported; its candidates are found by the keys `ROW/STEP/CANDIDATE` of the alternatives."""
    spelled = row.source_extra or {}
    places = ((one.source_key.split("/")[-1], one) for given in said.alternatives.values() for one in given)
    came = as_row(
        StoredRow(
            extra=row.extra,
            annotator=row.annotator,
            statement=spelled.get("statement", row.statement),
            reference_answer=spelled.get("reference_answer", row.reference_answer),
            reference_solution=spelled.get("reference_solution", row.reference_solution),
            steps=row.steps,
            answer=row.answer,
            labels=said.labels,
            written=said.written,
            alternatives={
                (one.step_index, int(number)): (one.text, one.is_answer, one.label) for number, one in places
            },
            finish_reason=row.finish_reason,
            duration_ms=row.duration_ms,
        )
    )
    return {column.name: _in_order(came.get(column.name), column.kind) for column in PRM800K}


def _in_order(value: Any, kind: Kind) -> Any:
    """A value with its keys in the schema's order, which PostgreSQL does not keep; keys that it lacks stay away."""
    if isinstance(kind, list) and isinstance(value, list):
        return [_in_order(one, kind[0]) for one in value]
    if isinstance(kind, dict) and isinstance(value, dict):
        names = [name for name in kind if name in value] + sorted(name for name in value if name not in kind)
        return {name: _in_order(value[name], kind.get(name, "text")) for name in names}
    return value


def _as_prm800k(row: Any, said: _Rated) -> dict[str, Any]:
    steps = row.steps if row.segments is None else row.segments
    answer = None if row.answer is None else render_answer(row.answer)
    whole = [*steps, *([] if answer is None else [answer])]
    n_rated = max([*said.labels, *said.written, *said.alternatives], default=-1) + 1
    return {
        "labeler": row.annotator,
        "timestamp": row.created_at.replace(tzinfo=None).isoformat(timespec="microseconds"),
        "generation": None,
        "is_quality_control_question": False,
        "is_initial_screening_question": False,
        "question": {
            "problem": row.statement,
            "ground_truth_solution": row.reference_solution,
            "ground_truth_answer": row.reference_answer,
            "pre_generated_steps": whole,
            "pre_generated_answer": row.answer,
            "pre_generated_verifier_score": None,
        },
        "label": {
            "steps": [_step(index, whole, said, is_last=index == n_rated - 1) for index in range(n_rated)],
            "total_time": row.duration_ms,
            "finish_reason": row.finish_reason,
        },
    }


def _step(index: int, whole: Sequence[str], said: _Rated, *, is_last: bool) -> dict[str, Any]:
    """A step's candidates: the solution's own first; chosen is the one that the labeller went on from."""
    candidates, chosen = [], None
    if index < len(whole):
        label = said.labels.get(index)
        candidates.append({"text": whole[index], "rating": label, "flagged": False})
        chosen = None if is_last and label == -1 else 0
    for one in said.alternatives.get(index, []):
        text = render_answer(one.text) if one.is_answer else one.text
        candidates.append({"text": text, "rating": one.label, "flagged": False})
        if one.is_chosen:
            chosen = len(candidates) - 1
    written = said.written.get(index)
    human = None
    if written is not None:
        human, chosen = {"text": written, "rating": None, "source": "human", "flagged": False}, None
    return {"completions": candidates, "human_completion": human, "chosen_completion": chosen}


def _annotations(page: Page, selection: Selection, labels: LabelFilter) -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(
            Annotation.annotation_id,
            Annotation.annotator_id,
            Annotation.finish_reason,
            Annotation.segments,
            Annotation.duration_ms,
            Annotation.created_at,
            Annotation.extra,
            label_refusal(labels).label("refusal"),
            Annotator.name.label("annotator"),
            Solution.solution_id,
            Solution.problem_id,
            Solution.steps,
            Solution.answer,
            Solution.source,
            Solution.run_id,
            Solution.licence,
            _ORIGIN.extra.label("source_extra"),
            Problem.statement,
            Problem.family,
            Problem.reference_answer,
            Problem.reference_solution,
            Problem.reference_trust,
        )
        .select_from(Solution)
        .join(Annotation, Annotation.solution_id == Solution.solution_id)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .join(Problem, Problem.problem_id == Solution.problem_id)
        .outerjoin(_ORIGIN, sa.and_(_ORIGIN.source == Solution.source, _ORIGIN.source_key == Solution.source_key))
        .where(page.holds(Solution.problem_id), is_selected(selection), Annotation.kind == "steps", *are_label_data())
        .order_by(Solution.problem_id, Solution.solution_id, Annotation.annotation_id)
    )


def _rated(session: Session, annotation_ids: Sequence[int]) -> Mapping[int, _Rated]:
    found = {annotation_id: _Rated({}, {}, {}) for annotation_id in annotation_ids}
    for label in session.execute(
        sa.select(StepLabel.annotation_id, StepLabel.step_index, StepLabel.label).where(
            StepLabel.annotation_id.in_(annotation_ids)
        )
    ):
        found[label.annotation_id].labels[label.step_index] = label.label
    for step in session.execute(
        sa.select(WrittenStep.annotation_id, WrittenStep.step_index, WrittenStep.text).where(
            WrittenStep.annotation_id.in_(annotation_ids)
        )
    ):
        found[step.annotation_id].written[step.step_index] = step.text
    for one in session.execute(
        sa.select(
            AlternativeLabel.annotation_id,
            AlternativeLabel.label,
            AlternativeLabel.is_chosen,
            Alternative.step_index,
            Alternative.text,
            Alternative.is_answer,
            Alternative.source_key,
        )
        .join(Alternative, Alternative.alternative_id == AlternativeLabel.alternative_id)
        .where(AlternativeLabel.annotation_id.in_(annotation_ids))
        .order_by(Alternative.alternative_id)
    ):
        found[one.annotation_id].alternatives.setdefault(one.step_index, []).append(one)
    return found
