"""Step tasks: what each annotator said of each step, and what a reviewer decides, step by step."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import InputError

from ..annotations import labels_of
from ..connect import reading, writing
from ..models import Adjudication, Annotation, Annotator, Event, Problem, Project, Solution, Task
from .feedback import is_sent_back, tell

_WORDS = {1: "good", 0: "neutral", -1: "bad"}


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
        if task.kind != "steps":
            raise InputError(f"task {task_id} is a {task.kind}; it has no steps to decide")
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
            decided = {index: labels[index] for index in changed}
            lines = {answer.annotator_id: _lines(answer, decided) for answer in _answers(session, task_id)}
            tell(session, task_id, lines, reviewer_id=reviewer_id, why=note)
            session.add(Event(kind="adjudicated", annotator_id=reviewer_id, task_id=task_id, data={"steps": changed}))
        return changed


def _differs(before: Decision | None, label: int, note: str | None) -> bool:
    return before is None or before.label != label or (note is not None and note != before.note)


def _lines(answer: Answer, labels: Mapping[int, int]) -> list[str]:
    """Which of an annotator's labels a reviewer sees otherwise, in words."""
    return [
        f"Step {index + 1}: you said {_WORDS[answer.labels[index]]}, decided is {_WORDS[label]}."
        for index, label in sorted(labels.items())
        if index in answer.labels and answer.labels[index] != label
    ]


def _answers(session: Session, task_id: int) -> tuple[Answer, ...]:
    rows = session.execute(
        sa.select(Annotation, Annotator.name, is_sent_back())
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
