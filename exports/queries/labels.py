"""Whose labels count, and which of them: conditions on annotations, counted by reason."""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.models import Annotation, Annotator, Guideline, Project, Task
from db.selection import is_label_data, name_like, unindexed
from stepmark.errors import InputError, SettingsError

Said = TypeVar("Said", bound=Hashable)
Adjudicated = Literal["prefer", "ignore", "only"]


@dataclass(frozen=True, slots=True)
class LabelFilter:
    """Which labels count; all of them where nothing is asked."""

    annotators: tuple[str, ...] = ()
    """Only labels by these; empty: by all."""
    annotator_kinds: tuple[str, ...] = ()
    """Only labels by `person`, `program` or `model`; empty: by all."""
    annotators_refused: tuple[str, ...] = ()
    """No labels by these."""
    label_sources: tuple[str, ...] = ()
    """Only labels imported from sources named so; `*` is any text."""
    projects: tuple[str, ...] = ()
    """Only answers to tasks of these projects."""
    guidelines: tuple[str, ...] = ()
    """Only labels made under these versions of the guidelines."""
    since: dt.datetime | None = None
    """Only labels from this moment on."""
    until: dt.datetime | None = None
    """Only labels before this moment."""
    without_suggestions: bool = False
    """No labels of who saw a model's opinion first."""
    without_quality_control: bool = False
    """No labels of PRM800K's questions that controlled the quality of labellers."""
    without_screening: bool = False
    """No labels of PRM800K's questions by which labellers were chosen."""
    min_labellers: int = 1
    """Labellers of a step or pair at least; the labels of the others do not count."""
    min_agreement: float = 0.0
    """Least share of a step's or pair's labellers who say what most of them say."""
    adjudicated: Adjudicated = "prefer"
    """Take a reviewer's decision before the labels it decides on, ignore it, or take only what was decided."""

    @property
    def looks_at_others(self) -> bool:
        """Whether a label counts or not by what others say of the same thing."""
        return self.min_labellers > 1 or self.min_agreement > 0


_FLAGS = {
    "annotators": "--annotator",
    "annotator_kinds": "--annotator-kind",
    "annotators_refused": "--no-annotator",
    "label_sources": "--label-source",
    "projects": "--project",
    "guidelines": "--guideline",
    "since": "--since",
    "until": "--until",
    "without_suggestions": "--without-suggestions",
    "without_quality_control": "--without-quality-control",
    "without_screening": "--without-screening",
    "min_labellers": "--min-labellers",
    "min_agreement": "--min-agreement",
    "adjudicated": "--adjudicated",
}
"""What each field of the filter is called on the command line."""
EVERY_FILTER = frozenset(_FLAGS)
BY_ANNOTATION = EVERY_FILTER - {"min_labellers", "min_agreement", "adjudicated"}
"""The fields that take a label or leave it by itself, whatever others say of the same thing."""
NO_FILTER: frozenset[str] = frozenset()


def require_heeded(labels: LabelFilter, heeded: Collection[str], what: str) -> None:
    """Makes sure that nothing is asked of labels which a set would ignore.

    Args:
        labels: What is asked.
        heeded: Fields of the filter that the set heeds.
        what: Why it heeds no more, as the beginning of a sentence.

    Raises:
        SettingsError: More is asked.
    """
    plain = LabelFilter()
    asked = [name for name in _FLAGS if getattr(labels, name) != getattr(plain, name)]
    if more := [_FLAGS[name] for name in asked if name not in heeded]:
        raise SettingsError(f"{what}; leave out {', '.join(more)}")


def agreed(said: Collection[Said], labels: LabelFilter) -> tuple[Said] | None:
    """What the labellers of one thing say together; None where they differ.

    All of them say it, or, where a `min_agreement` is asked for, more than half of them and at least that share.
    """
    ((found, n),) = Counter(said).most_common(1)
    is_enough = 2 * n > len(said) and n >= labels.min_agreement * len(said)
    return (found,) if n == len(said) or (labels.min_agreement and is_enough) else None


def flags_of(options: Any, *, heeded: Collection[str] = EVERY_FILTER) -> dict[str, Any]:
    """A dataclass of options as a manifest records it, without what the set does not heed of the filter of labels."""
    ignored = EVERY_FILTER - frozenset(heeded)
    found = {field.name: getattr(options, field.name) for field in fields(options) if field.name not in ignored}
    return {name: one.isoformat() if isinstance(one, dt.datetime) else one for name, one in found.items()}


def check_labels(session: Session, labels: LabelFilter) -> None:
    """Makes sure that what the filter names is there.

    Raises:
        InputError: A name is of no annotator, project, guideline or source of labels.
    """
    _check(session, "annotator", Annotator.name, (*labels.annotators, *labels.annotators_refused))
    _check(session, "project", Project.name, labels.projects)
    for version in labels.guidelines:
        # Imported labels may name a version whose text is not here.
        if (
            session.scalar(sa.select(Annotation.annotation_id).where(Annotation.guideline == version).limit(1))
            is None
        ):
            _check(session, "guideline", Guideline.version, (version,))
    for pattern in labels.label_sources:
        found = sa.select(Annotation.annotation_id).where(name_like(Annotation.source, pattern)).limit(1)
        if session.scalar(found) is None:
            known = session.scalars(sa.select(Annotation.source).distinct().limit(20))
            raise InputError(f"no label is of a source named like {pattern!r}; there are: {_listed(known)}")


def _check(session: Session, what: str, column: Any, names: Sequence[str]) -> None:
    for name in names:
        if session.scalar(sa.select(column).where(column == name)) is None:
            known = session.scalars(sa.select(column).order_by(column).limit(20))
            raise InputError(f"no {what} is called {name!r}; there are: {_listed(known)}")


def _listed(names: Any) -> str:
    return ", ".join(sorted(name for name in names if name)) or "none yet"


def are_label_data() -> tuple[sa.ColumnElement[bool], ...]:
    """The conditions that annotations were not superseded, and do not measure people."""
    return unindexed(Annotation.superseded_by_id).is_(None), is_label_data()


def label_refusal(labels: LabelFilter) -> sa.ColumnElement[Any]:
    """Why an annotation does not count, as a column: null where it does."""
    refused: list[tuple[sa.ColumnElement[bool], str]] = []
    if labels.annotators:
        refused.append((~_by(Annotator.name.in_(labels.annotators)), "other_annotator"))
    if labels.annotators_refused:
        refused.append((_by(Annotator.name.in_(labels.annotators_refused)), "annotator_refused"))
    if labels.annotator_kinds:
        refused.append((~_by(Annotator.kind.in_(labels.annotator_kinds)), "other_annotator_kind"))
    if labels.label_sources:
        wanted = sa.or_(*(name_like(Annotation.source, pattern) for pattern in labels.label_sources))
        refused.append((Annotation.source.is_(None) | ~wanted, "other_label_source"))
    if labels.projects:
        of_project = (
            sa.select(Task.task_id)
            .join(Project, Project.project_id == Task.project_id)
            .where(Task.task_id == Annotation.task_id, Project.name.in_(labels.projects))
            .correlate(Annotation)
        )
        refused.append((~of_project.exists(), "other_project"))
    if labels.guidelines:
        wanted = Annotation.guideline.in_(labels.guidelines)
        refused.append((Annotation.guideline.is_(None) | ~wanted, "other_guideline"))
    if labels.since is not None:
        refused.append((Annotation.created_at < labels.since, "too_early"))
    if labels.until is not None:
        refused.append((Annotation.created_at >= labels.until, "too_late"))
    if labels.without_suggestions:
        refused.append((Annotation.suggestion_shown.is_(True), "suggestion_shown"))
    if labels.without_quality_control:
        refused.append((_is_marked("is_quality_control_question"), "quality_control_question"))
    if labels.without_screening:
        refused.append((_is_marked("is_initial_screening_question"), "initial_screening_question"))
    if not refused:
        return sa.null()
    return sa.case(*((condition, sa.literal_column(f"'{reason}'")) for condition, reason in refused), else_=sa.null())


def _is_marked(key: str) -> sa.ColumnElement[bool]:
    """Whether a row of PRM800K, of which the importer keeps the rest in the annotation, says so of itself."""
    marked: sa.ColumnElement[bool] = Annotation.extra["row"][key].as_boolean().is_(True)
    return marked


def _by(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return Annotation.annotator_id.in_(sa.select(Annotator.annotator_id).where(condition))
