"""Tasks that several people answered: which differ most, what each said of each step, and what a reviewer decides.

A decision on a step is a row; of several on one step the latest stands. A reviewer who decides again takes the own
earlier row away; what it said stays in the events.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from stepmark.errors import InputError

from .annotations import labels_of
from .connect import reading, writing
from .models import Adjudication, Annotation, Annotator, Event, Note, Problem, Project, Solution, StepLabel, Task
from .notes import add_note

JUDGED = ("found_error", "solution", "give_up")
_WORDS = {1: "good", 0: "neutral", -1: "bad"}


@dataclass(frozen=True, slots=True)
class Contested:
    """A task in the adjudication queue."""

    task_id: int
    solution_id: int
    project: str | None
    statement: str
    n_answers: int
    agreement: float
    """Share of pairs of annotators who say the same of a step, over the steps that two or more judged."""
    n_contested: int
    """Steps on which they differ."""
    n_decided: int
    """Steps that a reviewer decided."""
    after: tuple[float, int]
    """Where the next page begins."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One annotator's current answer to a task."""

    annotation_id: int
    annotator_id: int
    annotator: str
    finish_reason: str | None
    comment: str | None
    labels: Mapping[int, int]
    unsure: frozenset[int]
    is_sent_back: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What a reviewer decided on a step; the latest."""

    label: int
    reviewer: str
    adopted_from_id: int | None
    note: str | None
    created_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Case:
    """Everything there is to see of a task that is adjudicated."""

    task_id: int
    solution_id: int
    project_id: int | None
    project: str | None
    mode: str
    statement: str
    reference_answer: str | None
    outcome: bool | None
    steps: tuple[str, ...]
    answer: str | None
    answers: tuple[Answer, ...]
    decisions: Mapping[int, Decision] = field(default_factory=dict)

    @property
    def segments(self) -> tuple[str, ...]:
        """The steps, and the final answer where there is one."""
        return self.steps if self.answer is None else (*self.steps, self.answer)

    @property
    def contested(self) -> list[int]:
        """Steps on which the annotators differ."""
        return [
            index
            for index in range(len(self.segments))
            if len({answer.labels[index] for answer in self.answers if index in answer.labels}) > 1
        ]


def contested_tasks(
    engine: sa.Engine,
    *,
    project_id: int | None = None,
    only_open: bool = True,
    after: tuple[float, int] | None = None,
    n: int = 20,
) -> list[Contested]:
    """Step tasks with two answers or more, lowest agreement first.

    Args:
        engine: The database.
        project_id: Only this project's.
        only_open: Only tasks that have a step on which people differ and nobody has decided.
        after: `after` of the last row of the page before; None for the first page.
        n: Rows of a page.
    """
    units = _units(project_id).subquery()
    decided = (
        sa.select(Adjudication.task_id, sa.func.count(sa.distinct(Adjudication.step_index)).label("n_decided"))
        .group_by(Adjudication.task_id)
        .subquery()
    )
    same = units.c.n_good * (units.c.n_good - 1) + units.c.n_neutral * (units.c.n_neutral - 1)
    same = same + units.c.n_bad * (units.c.n_bad - 1)
    is_mixed = sa.and_(units.c.n_good < units.c.n, units.c.n_neutral < units.c.n, units.c.n_bad < units.c.n)
    is_decided = sa.exists().where(
        Adjudication.task_id == units.c.task_id, Adjudication.step_index == units.c.step_index
    )
    agreement = sa.func.avg(sa.cast(same, sa.Float) / (units.c.n * (units.c.n - 1))).label("agreement")
    n_contested = sa.func.sum(sa.case((is_mixed, 1), else_=0)).label("n_contested")
    n_waiting = sa.func.sum(sa.case((sa.and_(is_mixed, ~is_decided), 1), else_=0)).label("n_waiting")
    by_task = (
        sa.select(units.c.task_id, agreement, n_contested, n_waiting, sa.func.max(units.c.n).label("n_answers"))
        .where(units.c.n > 1)
        .group_by(units.c.task_id)
        .subquery()
    )
    query = (
        sa.select(
            by_task,
            sa.func.coalesce(decided.c.n_decided, 0).label("n_decided"),
            Task.solution_id,
            Project.name,
            Problem.statement,
        )
        .join(Task, Task.task_id == by_task.c.task_id)
        .join(Solution, Solution.solution_id == Task.solution_id)
        .join(Problem, Problem.problem_id == Solution.problem_id)
        .outerjoin(Project, Project.project_id == Task.project_id)
        .outerjoin(decided, decided.c.task_id == by_task.c.task_id)
        .order_by(by_task.c.agreement, by_task.c.task_id)
        .limit(n)
    )
    if only_open:
        query = query.where(by_task.c.n_waiting > 0)
    if after is not None:
        query = query.where(
            sa.or_(
                by_task.c.agreement > after[0],
                sa.and_(by_task.c.agreement == after[0], by_task.c.task_id > after[1]),
            )
        )
    with reading(engine) as session:
        return [
            Contested(
                task_id=row.task_id,
                solution_id=row.solution_id,
                project=row.name,
                statement=row.statement,
                n_answers=row.n_answers,
                agreement=float(row.agreement),
                n_contested=int(row.n_contested),
                n_decided=int(row.n_decided),
                after=(float(row.agreement), row.task_id),
            )
            for row in session.execute(query)
        ]


def count_contested(engine: sa.Engine, *, project_id: int | None = None) -> tuple[int, int]:
    """How many tasks have two answers or more that share a judged step, and how many of these differ undecided."""
    units = _units(project_id).subquery()
    is_mixed = sa.and_(units.c.n_good < units.c.n, units.c.n_neutral < units.c.n, units.c.n_bad < units.c.n)
    is_decided = sa.exists().where(
        Adjudication.task_id == units.c.task_id, Adjudication.step_index == units.c.step_index
    )
    by_task = (
        sa.select(
            units.c.task_id, sa.func.max(sa.case((sa.and_(is_mixed, ~is_decided), 1), else_=0)).label("is_waiting")
        )
        .where(units.c.n > 1)
        .group_by(units.c.task_id)
        .subquery()
    )
    with reading(engine) as session:
        n, waiting = session.execute(
            sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(by_task.c.is_waiting), 0)).select_from(by_task)
        ).one()
        return int(n), int(waiting)


def get_case(engine: sa.Engine, task_id: int) -> Case | None:
    """A step task with all its current answers and decisions; None where there is no such task."""
    with reading(engine) as session:
        row = session.execute(
            sa.select(Task, Solution, Problem, Project.name)
            .join(Solution, Solution.solution_id == Task.solution_id)
            .join(Problem, Problem.problem_id == Solution.problem_id)
            .outerjoin(Project, Project.project_id == Task.project_id)
            .where(Task.task_id == task_id, Task.kind == "steps")
        ).one_or_none()
        if row is None:
            return None
        task, solution, problem, project = row
        return Case(
            task_id=task_id,
            solution_id=solution.solution_id,
            project_id=task.project_id,
            project=project,
            mode=task.mode,
            statement=problem.statement,
            reference_answer=problem.reference_answer,
            outcome=solution.outcome,
            steps=tuple(solution.steps),
            answer=solution.answer,
            answers=_answers(session, task_id),
            decisions=_decisions(session, task_id),
        )


def decide(
    engine: sa.Engine,
    task_id: int,
    labels: Mapping[int, int],
    *,
    reviewer_id: int,
    adopted_from_id: int | None = None,
    note: str | None = None,
) -> list[int]:
    """Stores a reviewer's decisions on steps; annotators whose labels they change are told once for each decision.

    Args:
        engine: The database.
        task_id: The task.
        labels: Label by step.
        reviewer_id: Who decides.
        adopted_from_id: The annotation whose labels these are; None for the reviewer's own.
        note: Why; it goes to the annotators too.

    Returns:
        The steps on which the decision that stands is another than before.

    Raises:
        InputError: There is no such task, or a step or label is out of range.
    """
    note = (note or "").strip() or None
    with writing(engine) as session:
        task = session.scalar(sa.select(Task).where(Task.task_id == task_id).with_for_update())
        if task is None:
            raise InputError(f"there is no task {task_id}")
        solution = session.get_one(Solution, task.solution_id)
        n_segments = len(solution.steps) + (solution.answer is not None)
        for index, label in labels.items():
            if not 0 <= index < n_segments:
                raise InputError(f"step {index + 1} is not there: task {task_id} has {n_segments}")
            if label not in (-1, 0, 1):
                raise InputError(f"label of step {index + 1} is {label!r}; use 1, 0 or -1")
        before = _decisions(session, task_id)
        changed = [index for index, label in sorted(labels.items()) if _differs(before.get(index), label, note)]
        for index in changed:
            own = session.scalar(
                sa.select(Adjudication).where(
                    Adjudication.task_id == task_id,
                    Adjudication.step_index == index,
                    Adjudication.annotator_id == reviewer_id,
                )
            )
            if own is not None:  # a reviewer has one row a step: the new one must be the latest
                session.add(
                    Event(
                        kind="adjudication_replaced",
                        annotator_id=reviewer_id,
                        task_id=task_id,
                        data={"step_index": index, "label": own.label, "note": own.note},
                    )
                )
                session.delete(own)
                session.flush()
            session.add(
                Adjudication(
                    task_id=task_id,
                    step_index=index,
                    label=labels[index],
                    annotator_id=reviewer_id,
                    adopted_from_id=adopted_from_id,
                    note=note,
                )
            )
        session.flush()
        if changed:
            _tell(session, task_id, {index: labels[index] for index in changed}, reviewer_id, note)
            session.add(Event(kind="adjudicated", annotator_id=reviewer_id, task_id=task_id, data={"steps": changed}))
        return changed


def _differs(before: Decision | None, label: int, note: str | None) -> bool:
    return before is None or before.label != label or (note is not None and note != before.note)


def _tell(session: Session, task_id: int, labels: Mapping[int, int], reviewer_id: int, note: str | None) -> None:
    """Tells annotators which of their labels a reviewer sees otherwise."""
    for answer in _answers(session, task_id):
        lines = [
            f"Step {index + 1}: you said {_WORDS[answer.labels[index]]}, decided is {_WORDS[label]}."
            for index, label in sorted(labels.items())
            if index in answer.labels and answer.labels[index] != label
        ]
        if lines and answer.annotator_id != reviewer_id:
            text = "\n".join([*lines, *([f"Why: {note}"] if note else [])])
            add_note(
                session,
                kind="feedback",
                to_id=answer.annotator_id,
                author_id=reviewer_id,
                text=text[:5000],
                task_id=task_id,
            )


def _units(project_id: int | None) -> sa.Select[*tuple[Any, ...]]:
    """A row for each step of a task: how many current answers call it good, neutral, bad."""
    query = (
        sa.select(
            Annotation.task_id,
            StepLabel.step_index,
            sa.func.count().label("n"),
            sa.func.sum(sa.case((StepLabel.label == 1, 1), else_=0)).label("n_good"),
            sa.func.sum(sa.case((StepLabel.label == 0, 1), else_=0)).label("n_neutral"),
            sa.func.sum(sa.case((StepLabel.label == -1, 1), else_=0)).label("n_bad"),
        )
        .join(StepLabel, StepLabel.annotation_id == Annotation.annotation_id)
        .join(Task, Task.task_id == Annotation.task_id)
        .where(
            Annotation.superseded_by_id.is_(None),
            Annotation.kind == "steps",
            Annotation.segments.is_(sa.null()),
            Annotation.finish_reason.in_(JUDGED),
            Task.kind == "steps",
        )
        .group_by(Annotation.task_id, StepLabel.step_index)
    )
    return query if project_id is None else query.where(Task.project_id == project_id)


def _answers(session: Session, task_id: int) -> tuple[Answer, ...]:
    sent = aliased(Note)
    is_sent_back = sa.exists().where(
        sent.task_id == Annotation.task_id,
        sent.kind == "sent_back",
        sent.annotator_id == Annotation.annotator_id,
        sent.read_at.is_(None),
    )
    rows = session.execute(
        sa.select(Annotation, Annotator.name, is_sent_back)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .where(
            Annotation.task_id == task_id,
            Annotation.superseded_by_id.is_(None),
            Annotation.segments.is_(sa.null()),
        )
        .order_by(Annotation.annotator_id)
    ).all()
    labels, unsure = labels_of(session, [row.annotation_id for row, _, _ in rows])
    return tuple(
        Answer(
            annotation_id=row.annotation_id,
            annotator_id=row.annotator_id,
            annotator=name,
            finish_reason=row.finish_reason,
            comment=row.comment,
            labels=labels.get(row.annotation_id, {}),
            unsure=frozenset(unsure.get(row.annotation_id, ())),
            is_sent_back=bool(is_back),
        )
        for row, name, is_back in rows
    )


def _decisions(session: Session, task_id: int) -> dict[int, Decision]:
    rows = session.execute(
        sa.select(Adjudication, Annotator.name)
        .join(Annotator, Annotator.annotator_id == Adjudication.annotator_id)
        .where(Adjudication.task_id == task_id)
        .order_by(Adjudication.adjudication_id)
    )
    return {
        row.step_index: Decision(row.label, name, row.adopted_from_id, row.note, row.created_at) for row, name in rows
    }
