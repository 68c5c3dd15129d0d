"""What labellers said of steps, read for measures of agreement: whole solutions, by all who labelled them."""

import datetime as dt
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.agreement.labels import LabelledSolutions, StepAnnotation, StepLabel
from stepmark.errors import InputError

from .connect import reading
from .models import Annotation, Annotator, Solution, Task
from .models import StepLabel as StepLabelRow
from .selection import check_sources, solution_in_source, unindexed

_SOLUTIONS_OF_CHUNK = 2_000


@dataclass(frozen=True, slots=True)
class LabelSelection:
    """Which current step annotations; a superseded one never counts."""

    source: str | None = None
    """Solutions of sources that match this pattern, as elsewhere; None takes all."""
    annotator_kinds: tuple[str, ...] = ("person",)
    """Labellers of these kinds."""
    reason: str | None = None
    """Only answers to tasks that this rule put into the queue."""
    project_id: int | None = None
    """Only answers to tasks of this project."""
    since: dt.datetime | None = None
    """Only answers from this moment on."""
    until: dt.datetime | None = None
    """Only answers before this moment."""
    gold: str | None = None
    """Name of an annotator, of any kind, whose labels of the same solutions are read too, whenever they were made."""


@dataclass(frozen=True, slots=True)
class Labellers:
    """Who has labelled what a selection holds."""

    names: dict[int, str]
    """By id; gold is among them."""
    gold_id: int | None


def find_labellers(engine: sa.Engine, selection: LabelSelection) -> Labellers:
    """Finds those whose labels `labelled_solutions` will yield.

    Raises:
        InputError: No source is named as the selection says, or no annotator as its gold.
    """
    with reading(engine) as session:
        if selection.source is not None:
            check_sources(session, [selection.source])
        gold_id = None if selection.gold is None else _gold_id(session, selection.gold)
        wanted = sa.or_(Annotator.kind.in_(selection.annotator_kinds), Annotator.annotator_id == gold_id)
        labels = sa.exists().where(Annotation.annotator_id == Annotator.annotator_id, Annotation.kind == "steps")
        query = sa.select(Annotator.annotator_id, Annotator.name).where(wanted, labels)
        return Labellers({id_: name for id_, name in session.execute(query)}, gold_id)


def _gold_id(session: Session, name: str) -> int:
    found = session.scalar(sa.select(Annotator.annotator_id).where(Annotator.name == name))
    if found is None:
        query = sa.select(Annotator.name).order_by(Annotator.name).limit(20)
        known = ", ".join(session.scalars(query)) or "none yet"
        raise InputError(f"no annotator is called {name!r}; there are: {known}")
    return found


def count_labelled_solutions(engine: sa.Engine, selection: LabelSelection, labellers: Labellers) -> int:
    """How many solutions `labelled_solutions` yields."""
    with reading(engine) as session:
        chosen = _solution_ids(selection, labellers).subquery()
        return session.scalar(sa.select(sa.func.count()).select_from(chosen)) or 0


def labelled_solutions(
    engine: sa.Engine, selection: LabelSelection, labellers: Labellers
) -> Iterator[LabelledSolutions]:
    """Yields all step annotations of the selection with their labels, some thousands of solutions at a time.

    Solutions come in the order of their ids; each stands in one chunk. No transaction stays open between two. The
    solutions are those on which somebody other than gold has an answer.
    """
    after = 0
    while True:
        with reading(engine) as session:
            query = _solution_ids(selection, labellers).where(Annotation.solution_id > after)
            ids = session.scalars(query.order_by(Annotation.solution_id).limit(_SOLUTIONS_OF_CHUNK)).all()
            if not ids:
                return
            after = ids[-1]
            here = sa.and_(
                Annotation.solution_id.between(ids[0], ids[-1]),
                solution_in_source(selection.source),
                _is_read(selection, labellers),
            )
            wanted = frozenset(ids)  # gold may have answers on more
            annotations = [one for one in _annotations(session, here) if one.solution_id in wanted]
            labels = _labels(session, here, frozenset(one.annotation_id for one in annotations))
        yield LabelledSolutions(annotations, labels)


def _solution_ids(selection: LabelSelection, labellers: Labellers) -> sa.Select[int]:
    query = sa.select(Annotation.solution_id).join(Solution, Solution.solution_id == Annotation.solution_id)
    return query.where(_is_wanted(selection, labellers), solution_in_source(selection.source)).distinct()


def _is_wanted(selection: LabelSelection, labellers: Labellers) -> sa.ColumnElement[bool]:
    """Whether an annotation is of the selection, and not gold."""
    others = labellers.names.keys() - {labellers.gold_id}
    conditions = [_is_current(), unindexed(Annotation.annotator_id).in_(others)]
    if selection.reason is not None:
        conditions.append(sa.exists().where(Task.task_id == Annotation.task_id, Task.reason == selection.reason))
    if selection.project_id is not None:
        of_project = sa.exists().where(Task.task_id == Annotation.task_id, Task.project_id == selection.project_id)
        conditions.append(of_project)
    if selection.since is not None:
        conditions.append(Annotation.created_at >= selection.since)
    if selection.until is not None:
        conditions.append(Annotation.created_at < selection.until)
    return sa.and_(*conditions)


def _is_read(selection: LabelSelection, labellers: Labellers) -> sa.ColumnElement[bool]:
    is_gold = unindexed(Annotation.annotator_id) == labellers.gold_id
    return sa.or_(_is_wanted(selection, labellers), sa.and_(_is_current(), is_gold))


def _is_current() -> sa.ColumnElement[bool]:
    return sa.and_(Annotation.kind == "steps", unindexed(Annotation.superseded_by_id).is_(None))


def _annotations(session: Session, here: sa.ColumnElement[bool]) -> Iterator[StepAnnotation]:
    query = (
        sa.select(
            Annotation.annotation_id,
            Annotation.solution_id,
            Annotation.annotator_id,
            Solution.source,
            Solution.run_id,
            Annotation.mode,
            Annotation.finish_reason,
            Annotation.first_error,
        )
        .join(Solution, Solution.solution_id == Annotation.solution_id)
        .where(here)
        .order_by(Annotation.solution_id, Annotation.annotation_id)
    )
    for row in session.execute(query):
        yield StepAnnotation(
            annotation_id=row.annotation_id,
            solution_id=row.solution_id,
            annotator_id=row.annotator_id,
            source=row.source or f"run/{row.run_id}",
            mode=row.mode,
            finish_reason=row.finish_reason,
            first_error=row.first_error,
        )


def _labels(session: Session, here: sa.ColumnElement[bool], annotation_ids: Collection[int]) -> list[StepLabel]:
    if not annotation_ids:
        return []
    query = (
        sa.select(StepLabelRow.annotation_id, StepLabelRow.step_index, StepLabelRow.label, StepLabelRow.is_unsure)
        .join(Annotation, Annotation.annotation_id == StepLabelRow.annotation_id)
        .join(Solution, Solution.solution_id == Annotation.solution_id)
        # The range spares PostgreSQL a scan of the whole table where the answers on a chunk were stored together.
        .where(here, unindexed(StepLabelRow.annotation_id).between(min(annotation_ids), max(annotation_ids)))
    )
    # On PostgreSQL a statement may see annotations that the one before did not.
    return [StepLabel._make(row) for row in session.execute(query) if row[0] in annotation_ids]
