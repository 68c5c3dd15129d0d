"""Annotations that come with a source: adding them in bulk, once each, a corrected one over its forerunner.

What people submit in the app is claimed and stored task by task elsewhere.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.records import AnnotationRecord, JudgementRecord, PreferenceRecord

from .bulk import bulk_insert, bulk_insert_values, is_among, reserve_ids, table_of
from .models import (
    AlternativeLabel,
    Annotation,
    Annotator,
    CritiqueJudgement,
    Preference,
    StepLabel,
    WrittenStep,
)

_ANNOTATIONS = table_of(Annotation)
_BELOW = {
    "step_labels": (table_of(StepLabel), ("annotation_id", "step_index", "label", "is_unsure")),
    "written_steps": (table_of(WrittenStep), ("annotation_id", "step_index", "text")),
    "alternative_labels": (table_of(AlternativeLabel), ("annotation_id", "alternative_id", "label", "is_chosen")),
    "preferences": (
        table_of(Preference),
        ("annotation_id", "solution_a_id", "solution_b_id", "choice", "strength"),
    ),
    "critique_judgements": (
        table_of(CritiqueJudgement),
        ("annotation_id", "critique_id", "judgement", "is_verdict_right"),
    ),
}
"""What hangs below an annotation: the tables, and the columns that an import fills."""


@dataclass(frozen=True, slots=True)
class ImportedAnnotation:
    """What one labeller said, and what it is about."""

    record: AnnotationRecord | PreferenceRecord | JudgementRecord
    solution_id: int
    """Of a preference, the pair's first."""
    source: str
    source_key: str
    """Source and key of the solution, of the critique, or of the row with the pair."""
    alternative_ids: tuple[int, ...] = ()
    """Of the solution's alternatives, in the order of the record's labels of them."""
    other_solution_id: int | None = None
    """Of a preference."""
    critique_id: int | None = None
    """Of a judgement."""

    @property
    def kind(self) -> str:
        """One of `ANNOTATION_KINDS`."""
        if isinstance(self.record, AnnotationRecord):
            return "steps"
        return "preference" if isinstance(self.record, PreferenceRecord) else "critique"


@dataclass(slots=True)
class AddedAnnotations:
    """What became of the records, in their order."""

    is_new: list[bool] = field(default_factory=list)
    stored: Counter[str] = field(default_factory=Counter)
    """Rows added, by table."""
    n_superseded: int = 0
    """Earlier annotations by the same labeller, from the same source, that say otherwise."""

    @property
    def n_annotations(self) -> int:
        """Annotations added."""
        return self.stored["annotations"]

    @property
    def n_step_labels(self) -> int:
        """Step labels added."""
        return self.stored["step_labels"]


def annotator_id(session: Session, name: str, *, kind: str) -> int:
    """The id of the annotator with this name, who is made if there is none."""
    found = session.scalar(sa.select(Annotator.annotator_id).where(Annotator.name == name))
    if found is not None:
        return found
    annotator = Annotator(name=name, kind=kind, role="annotator", is_active=True)
    session.add(annotator)
    session.flush()
    return annotator.annotator_id


def labels_of(
    session: Session, annotation_ids: Sequence[int]
) -> tuple[dict[int, dict[int, int]], dict[int, set[int]]]:
    """The step labels of a few annotations, by annotation and step; and the steps marked as unsure."""
    labels: dict[int, dict[int, int]] = {}
    unsure: dict[int, set[int]] = {}
    for found in session.scalars(sa.select(StepLabel).where(StepLabel.annotation_id.in_(annotation_ids))):
        labels.setdefault(found.annotation_id, {})[found.step_index] = found.label
        if found.is_unsure:
            unsure.setdefault(found.annotation_id, set()).add(found.step_index)
    return labels, unsure


def add_annotations(session: Session, items: Sequence[ImportedAnnotation]) -> AddedAnnotations:
    """Adds annotations that are not there yet; a changed one supersedes what the labeller said before."""
    added = AddedAnnotations()
    submissions = [_submission_id(item) for item in items]
    there = set(
        session.scalars(
            sa.select(Annotation.submission_id).where(is_among(session, Annotation.submission_id, submissions))
        )
    )
    fresh: dict[str, ImportedAnnotation] = {}
    for submission, item in zip(submissions, items, strict=True):
        added.is_new.append(submission not in there)
        if submission not in there:
            there.add(submission)
            fresh[submission] = item
    if not fresh:
        return added
    annotators = {
        name: annotator_id(session, name, kind=kind)
        for name, kind in {item.record.annotator: item.record.annotator_kind for item in fresh.values()}.items()
    }
    ids = reserve_ids(session, _ANNOTATIONS, len(fresh))
    rows: list[dict[str, Any]] = []
    below: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _BELOW}
    subjects: list[_Subject] = []
    for (submission, item), annotation_id in zip(fresh.items(), ids, strict=True):
        annotator = annotators[item.record.annotator]
        rows.append(_annotation_row(submission, item, annotation_id, annotator))
        subjects.append(_subject(item, annotator))
        for name, found in _rows_below(item, annotation_id):
            below[name] += found
    forerunners = _current(session, subjects)
    bulk_insert(session, _ANNOTATIONS, rows)
    added.stored["annotations"] += len(rows)
    for name, (table, columns) in _BELOW.items():
        bulk_insert_values(session, table, columns, below[name])
        added.stored[name] += len(below[name])
    added.n_superseded = _supersede(session, ids, subjects, forerunners)
    return added


def _submission_id(item: ImportedAnnotation) -> str:
    """Names the annotation by what it says, so that the same import is recognised and a corrected one is not."""
    record = item.record
    said: list[Any] = [item.source, item.source_key, record.annotator]
    if isinstance(record, AnnotationRecord):
        said += [record.mode, record.finish_reason, record.labels]
        if record.alternatives or record.written:
            said += [record.alternatives, sorted((record.written or {}).items())]
    elif isinstance(record, PreferenceRecord):
        said += ["preference", record.a, record.b, record.choice, record.strength]
    else:
        said += ["critique", record.judgement, record.is_verdict_right]
    return "import:" + hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


def _annotation_row(submission: str, item: ImportedAnnotation, annotation_id: int, annotator: int) -> dict[str, Any]:
    record = item.record
    steps = record if isinstance(record, AnnotationRecord) else None
    return {
        "annotation_id": annotation_id,
        "submission_id": submission,
        "kind": item.kind,
        "annotator_id": annotator,
        "solution_id": item.solution_id,
        "mode": steps and steps.mode,
        "finish_reason": "solution" if steps is None else steps.finish_reason,
        "first_error": steps and steps.first_error,
        "duration_ms": steps and steps.duration_ms,
        "comment": steps and steps.comment,
        "source": item.source,
        "extra": None if record.extra is None else dict(record.extra),
    }


def _rows_below(item: ImportedAnnotation, annotation_id: int) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """The rows that hang below an annotation, by table, with the values of its columns in `_BELOW`."""
    record = item.record
    if isinstance(record, PreferenceRecord):
        pair = (item.solution_id, item.other_solution_id)
        yield "preferences", [(annotation_id, *pair, record.choice, record.strength)]
        return
    if isinstance(record, JudgementRecord):
        yield (
            "critique_judgements",
            [(annotation_id, item.critique_id, record.judgement, record.is_verdict_right)],
        )
        return
    labels = enumerate(record.labels)
    yield "step_labels", [(annotation_id, index, label, False) for index, label in labels if label is not None]
    if record.written:
        yield "written_steps", [(annotation_id, index, text) for index, text in record.written.items()]
    if record.alternatives:
        labelled = zip(item.alternative_ids, record.alternatives, strict=True)
        yield (
            "alternative_labels",
            [(annotation_id, alternative, label, False) for alternative, label in labelled if label is not None],
        )


_Subject = tuple[str, int, int, int | None, str]
"""Kind of an annotation, the solution, the annotator, the pair's other solution or the critique, the source."""


def _subject(item: ImportedAnnotation, annotator: int) -> _Subject:
    return item.kind, item.solution_id, annotator, item.other_solution_id or item.critique_id, item.source


def _current(session: Session, subjects: Sequence[_Subject]) -> dict[_Subject, int]:
    """The current imported annotations of the same kinds about these solutions, by what they are about.

    Those of tasks and those superseded are passed over here: as conditions they led both databases to an index that
    holds nearly all annotations.
    """
    solutions: defaultdict[str, set[int]] = defaultdict(set)
    for kind, solution_id, *_ in subjects:
        solutions[kind].add(solution_id)
    found: dict[_Subject, int] = {}
    for kind, wanted in solutions.items():
        other: Any = sa.null()
        query: sa.Select[*tuple[Any, ...]] = sa.select(
            Annotation.annotation_id,
            Annotation.solution_id,
            Annotation.annotator_id,
            Annotation.source,
            Annotation.task_id,
            Annotation.superseded_by_id,
        )
        if kind == "preference":
            other = Preference.solution_b_id
            query = query.join(Preference, Preference.annotation_id == Annotation.annotation_id)
        elif kind == "critique":
            other = CritiqueJudgement.critique_id
            query = query.join(CritiqueJudgement, CritiqueJudgement.annotation_id == Annotation.annotation_id)
        query = query.add_columns(other).where(
            is_among(session, Annotation.solution_id, sorted(wanted)),
            Annotation.kind == kind,
        )
        for annotation_id, solution_id, annotator, source, task_id, newer_id, other_id in session.execute(query):
            if source is not None and task_id is None and newer_id is None:
                found[kind, solution_id, annotator, other_id, source] = annotation_id
    return found


def _supersede(
    session: Session, ids: Sequence[int], subjects: Sequence[_Subject], forerunners: dict[_Subject, int]
) -> int:
    replaced = [
        {"old": forerunners[subject], "new": annotation_id}
        for annotation_id, subject in zip(ids, subjects, strict=True)
        if subject in forerunners
    ]
    if replaced:
        session.connection().execute(
            sa.update(_ANNOTATIONS)
            .where(_ANNOTATIONS.c.annotation_id == sa.bindparam("old"))
            .values(superseded_by_id=sa.bindparam("new")),
            replaced,
        )
    return len(replaced)
