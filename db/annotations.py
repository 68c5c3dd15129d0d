"""Annotations that come with a source: adding them in bulk, once each, a corrected one over its forerunner.

What people submit in the app is claimed and stored task by task elsewhere.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.records import AnnotationRecord

from .bulk import bulk_insert, reserve_ids, table_of
from .models import Annotation, Annotator, StepLabel

_ANNOTATIONS = table_of(Annotation)
_STEP_LABELS = table_of(StepLabel)


@dataclass(frozen=True, slots=True)
class ImportedAnnotation:
    """An annotation record and the solution it is about."""

    record: AnnotationRecord
    solution_id: int
    source: str
    source_key: str
    """Source and key of the solution."""


@dataclass(slots=True)
class AddedAnnotations:
    """What became of the records, in their order."""

    is_new: list[bool] = field(default_factory=list)
    n_annotations: int = 0
    n_step_labels: int = 0
    n_superseded: int = 0
    """Earlier annotations by the same labeller, from the same source, that say otherwise."""


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
    """Adds step annotations that are not there yet; a changed one supersedes what the labeller said before."""
    added = AddedAnnotations()
    submissions = [_submission_id(item) for item in items]
    there = set(session.scalars(sa.select(Annotation.submission_id).where(Annotation.submission_id.in_(submissions))))
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
    rows = [
        _annotation_row(submission, item, annotation_id, annotators[item.record.annotator])
        for (submission, item), annotation_id in zip(fresh.items(), ids, strict=True)
    ]
    labels = [
        {"annotation_id": annotation_id, "step_index": index, "label": label, "is_unsure": False}
        for item, annotation_id in zip(fresh.values(), ids, strict=True)
        for index, label in enumerate(item.record.labels)
        if label is not None
    ]
    forerunners = _current(session, rows)
    bulk_insert(session, _ANNOTATIONS, rows)
    bulk_insert(session, _STEP_LABELS, labels)
    added.n_superseded = _supersede(session, rows, forerunners)
    added.n_annotations = len(rows)
    added.n_step_labels = len(labels)
    return added


def _submission_id(item: ImportedAnnotation) -> str:
    """Names the annotation by what it says, so that the same import is recognised and a corrected one is not."""
    record = item.record
    said = [item.source, item.source_key, record.annotator, record.mode, record.finish_reason, record.labels]
    return "import:" + hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


def _annotation_row(submission: str, item: ImportedAnnotation, annotation_id: int, annotator: int) -> dict[str, Any]:
    record = item.record
    return {
        "annotation_id": annotation_id,
        "submission_id": submission,
        "kind": "steps",
        "annotator_id": annotator,
        "solution_id": item.solution_id,
        "mode": record.mode,
        "finish_reason": record.finish_reason,
        "first_error": record.first_error,
        "source": item.source,
        "extra": None if record.extra is None else dict(record.extra),
    }


def _current(session: Session, rows: Sequence[dict[str, Any]]) -> dict[tuple[int, int, str], int]:
    """The current imported annotations of these solutions, by solution, annotator and source."""
    found = session.execute(
        sa.select(Annotation.annotation_id, Annotation.solution_id, Annotation.annotator_id, Annotation.source).where(
            Annotation.solution_id.in_({row["solution_id"] for row in rows}),
            Annotation.kind == "steps",
            Annotation.task_id.is_(None),
            Annotation.source.is_not(None),
            Annotation.superseded_by_id.is_(None),
        )
    )
    return {(solution, annotator, source): id_ for id_, solution, annotator, source in found if source is not None}


def _supersede(session: Session, rows: Sequence[dict[str, Any]], forerunners: dict[tuple[int, int, str], int]) -> int:
    replaced = [
        {"old": forerunners[key], "new": row["annotation_id"]}
        for row in rows
        if (key := (row["solution_id"], row["annotator_id"], row["source"])) in forerunners
    ]
    if replaced:
        session.connection().execute(
            sa.update(_ANNOTATIONS)
            .where(_ANNOTATIONS.c.annotation_id == sa.bindparam("old"))
            .values(superseded_by_id=sa.bindparam("new")),
            replaced,
        )
    return len(replaced)
