"""Pairs and critiques: what each annotator said of them, and what a reviewer decides of the whole.

A pair is in its own order everywhere here: `a` is the task's first solution, whatever an annotator's screen showed.
"""

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import InputError

from ..connect import reading, writing
from ..models import (
    CRITIQUE_JUDGEMENTS,
    PREFERENCE_CHOICES,
    Annotation,
    Annotator,
    Critique,
    CritiqueJudgement,
    Event,
    Preference,
    Problem,
    Project,
    Solution,
    Task,
    TaskAdjudication,
)
from .feedback import is_sent_back, tell

_CHOICES = {"equal": "equally good", "both_bad": "both bad"}
_TICK = dt.timedelta(milliseconds=1)
"""The precision of SQLite's clock."""


@dataclass(frozen=True, slots=True)
class Side:
    """A solution that is compared or criticised."""

    solution_id: int
    steps: tuple[str, ...]
    answer: str | None
    text: str
    outcome: bool | None
    generator: str | None


@dataclass(frozen=True, slots=True)
class Criticism:
    """The critique that is judged."""

    critique_id: int
    kind: str
    critic: str | None
    text: str
    verdict: str
    first_error: int | None
    is_confirmed: bool | None
    variant: str | None
    """Statement of the variant that it is about; None where it is the solution's own problem."""
    variant_answer: str | None


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """One annotator's current answer to a task on a pair or a critique."""

    annotation_id: int
    annotator_id: int
    annotator: str
    finish_reason: str | None
    comment: str | None
    is_sent_back: bool
    choice: str | None = None
    """Of a pair; None where none was made."""
    strength: int | None = None
    reasons: tuple[str, ...] = ()
    shown_first: str | None = None
    judgement: str | None = None
    """Of a critique; None where none was made."""
    is_helpful: bool | None = None
    is_verdict_right: bool | None = None
    correction: str | None = None

    @property
    def said(self) -> str | None:
        """The choice or the judgement."""
        return self.choice or self.judgement


@dataclass(frozen=True, slots=True)
class WholeDecision:
    """What a reviewer decided; the latest."""

    choice: str | None
    judgement: str | None
    is_verdict_right: bool | None
    reviewer: str
    adopted_from_id: int | None
    note: str | None
    created_at: dt.datetime

    @property
    def said(self) -> str:
        """The choice or the judgement."""
        return self.choice or self.judgement or ""


@dataclass(frozen=True, slots=True)
class WholeCase:
    """Everything there is to see of a pair or a critique that is adjudicated."""

    task_id: int
    kind: str
    project_id: int | None
    project: str | None
    statement: str
    reference_answer: str | None
    sides: tuple[Side, ...]
    """Both of a pair; the one that is criticised."""
    critique: Criticism | None
    answers: tuple[WholeAnswer, ...]
    decision: WholeDecision | None

    @property
    def said(self) -> Counter[str]:
        """How many say each thing."""
        return Counter(answer.said for answer in self.answers if answer.said is not None)


def get_whole_case(engine: sa.Engine, task_id: int) -> WholeCase | None:
    """A task on a pair or a critique with all its current answers and the decision; None where there is none."""
    with reading(engine) as session:
        other, variant = sa.orm.aliased(Solution), sa.orm.aliased(Problem)
        row = session.execute(
            sa.select(Task, Solution, other, Critique, Problem, variant, Project.name)
            .join(Solution, Solution.solution_id == Task.solution_id)
            .join(Problem, Problem.problem_id == Solution.problem_id)
            .outerjoin(other, other.solution_id == Task.other_solution_id)
            .outerjoin(Critique, Critique.critique_id == Task.critique_id)
            .outerjoin(variant, variant.problem_id == Critique.problem_id)
            .outerjoin(Project, Project.project_id == Task.project_id)
            .where(Task.task_id == task_id, Task.kind != "steps")
        ).one_or_none()
        if row is None:
            return None
        task, solution, second, critique, problem, about, project = row
        return WholeCase(
            task_id=task_id,
            kind=task.kind,
            project_id=task.project_id,
            project=project,
            statement=problem.statement,
            reference_answer=problem.reference_answer,
            sides=tuple(_side(one) for one in (solution, second) if one is not None),
            critique=None if critique is None else _criticism(critique, about, problem),
            answers=_answers(session, task_id),
            decision=_decision(session, task_id),
        )


def decide_whole(
    engine: sa.Engine,
    task_id: int,
    *,
    reviewer_id: int,
    choice: str | None = None,
    judgement: str | None = None,
    is_verdict_right: bool | None = None,
    adopted_from_id: int | None = None,
    note: str | None = None,
) -> bool:
    """Stores a reviewer's decision on a pair or a critique; annotators whose answer it changes are told.

    Args:
        engine: The database.
        task_id: The task.
        reviewer_id: Who decides.
        choice: Of a pair, in the pair's order: `a`, `b`, `equal` or `both_bad`.
        judgement: Of a critique: `right`, `partly` or `wrong`.
        is_verdict_right: Of a critique that has a verdict; None where nobody can tell.
        adopted_from_id: The annotation that says so; None for the reviewer's own.
        note: Why; it goes to the annotators too.

    Returns:
        Whether the decision that stands is another than before.

    Raises:
        InputError: There is no such task, or the decision does not fit it.
    """
    note = (note or "").strip() or None
    with writing(engine) as session:
        task = session.scalar(sa.select(Task).where(Task.task_id == task_id).with_for_update())
        if task is None:
            raise InputError(f"there is no task {task_id}")
        _check(session, task, choice, judgement, is_verdict_right)
        before = _decision(session, task_id)
        if (
            before is not None
            and (before.choice, before.judgement, before.is_verdict_right) == (choice, judgement, is_verdict_right)
            and note in (None, before.note)
        ):
            return False
        own = session.get(TaskAdjudication, (task_id, reviewer_id))
        if own is not None:  # a reviewer has one row: the new one must be the latest
            data = {"choice": own.choice, "judgement": own.judgement, "note": own.note}
            session.add(
                Event(
                    kind="adjudication_replaced",
                    annotator_id=reviewer_id,
                    task_id=task_id,
                    data={**data, "is_verdict_right": own.is_verdict_right},
                )
            )
            session.delete(own)
            session.flush()
        row = TaskAdjudication(
            task_id=task_id,
            annotator_id=reviewer_id,
            choice=choice,
            judgement=judgement,
            is_verdict_right=is_verdict_right,
            adopted_from_id=adopted_from_id,
            note=note,
        )
        session.add(row)
        session.flush()
        session.refresh(row)
        if before is not None and row.created_at <= before.created_at:
            row.created_at = before.created_at + _TICK
        lines = {
            answer.annotator_id: _lines(answer, choice, judgement, is_verdict_right)
            for answer in _answers(session, task_id)
        }
        tell(session, task_id, lines, reviewer_id=reviewer_id, why=note)
        decided = {"choice": choice, "judgement": judgement, "is_verdict_right": is_verdict_right}
        session.add(Event(kind="adjudicated", annotator_id=reviewer_id, task_id=task_id, data=decided))
        return True


def standing_decisions() -> sa.Select[*tuple[Any, ...]]:
    """Selects the decision that stands on each decided pair and critique: the latest.

    Columns: `task_id`, `annotator_id` (the reviewer), `choice` (in the order of the task's pair), `judgement`,
    `is_verdict_right`. To be joined as a subquery, by the task of an annotation or of a pair.
    """
    place = sa.func.row_number().over(
        partition_by=TaskAdjudication.task_id,
        order_by=(TaskAdjudication.created_at.desc(), TaskAdjudication.annotator_id.desc()),
    )
    ranked = sa.select(TaskAdjudication, place.label("place")).subquery()
    return sa.select(
        ranked.c.task_id, ranked.c.annotator_id, ranked.c.choice, ranked.c.judgement, ranked.c.is_verdict_right
    ).where(ranked.c.place == 1)


def _check(
    session: Session, task: Task, choice: str | None, judgement: str | None, is_verdict_right: bool | None
) -> None:
    if task.kind == "preference":
        if choice not in PREFERENCE_CHOICES:
            raise InputError(f"choice is {choice!r}; use one of {', '.join(PREFERENCE_CHOICES)}")
        if judgement is not None or is_verdict_right is not None:
            raise InputError(f"task {task.task_id} is a pair; it has a choice and nothing else")
    elif task.kind == "critique":
        if judgement not in CRITIQUE_JUDGEMENTS:
            raise InputError(f"judgement is {judgement!r}; use one of {', '.join(CRITIQUE_JUDGEMENTS)}")
        if choice is not None:
            raise InputError(f"task {task.task_id} is a critique; it has no choice")
        if is_verdict_right is not None and session.get_one(Critique, task.critique_id).verdict == "unreadable":
            raise InputError(f"the critique of task {task.task_id} has no verdict that can be read")
    else:
        raise InputError(f"task {task.task_id} is of steps; decide them one by one")


def _lines(
    answer: WholeAnswer, choice: str | None, judgement: str | None, is_verdict_right: bool | None
) -> list[str]:
    """What of an annotator's answer a reviewer sees otherwise, in the words of the annotator's screen."""
    if choice is not None:
        if answer.choice in (None, choice):
            return []
        given, decided = (_choice_words(one, answer.shown_first) for one in (answer.choice, choice))
        return [f"Pair: you said {given}, decided is {decided}."]
    lines = []
    if answer.judgement not in (None, judgement):
        lines.append(f"Critique: you said {answer.judgement}, decided is {judgement}.")
    if None not in (answer.is_verdict_right, is_verdict_right) and answer.is_verdict_right != is_verdict_right:
        given, decided = ("right" if one else "wrong" for one in (answer.is_verdict_right, is_verdict_right))
        lines.append(f"Its verdict: you said {given}, decided is {decided}.")
    return lines


def _choice_words(choice: str | None, shown_first: str | None) -> str:
    """A choice as the annotator saw the pair: A is what stood first on that screen."""
    if choice in _CHOICES:
        return _CHOICES[choice]
    return "A is better" if choice == (shown_first or "a") else "B is better"


def _side(solution: Solution) -> Side:
    return Side(
        solution.solution_id,
        tuple(solution.steps),
        solution.answer,
        solution.text,
        solution.outcome,
        solution.generator,
    )


def _criticism(critique: Critique, about: Problem, problem: Problem) -> Criticism:
    is_own = about.problem_id == problem.problem_id
    return Criticism(
        critique_id=critique.critique_id,
        kind=critique.kind,
        critic=critique.critic,
        text=critique.text,
        verdict=critique.verdict,
        first_error=critique.first_error,
        is_confirmed=critique.is_confirmed,
        variant=None if is_own else about.statement,
        variant_answer=None if is_own else about.reference_answer,
    )


def _answers(session: Session, task_id: int) -> tuple[WholeAnswer, ...]:
    rows = session.execute(
        sa.select(Annotation, Annotator.name, is_sent_back(), Preference, CritiqueJudgement)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .outerjoin(Preference, Preference.annotation_id == Annotation.annotation_id)
        .outerjoin(CritiqueJudgement, CritiqueJudgement.annotation_id == Annotation.annotation_id)
        .where(Annotation.task_id == task_id, Annotation.superseded_by_id.is_(None))
        .order_by(Annotation.annotator_id)
    )
    return tuple(
        WholeAnswer(
            annotation_id=row.annotation_id,
            annotator_id=row.annotator_id,
            annotator=name,
            finish_reason=row.finish_reason,
            comment=row.comment,
            is_sent_back=bool(is_back),
            **_said(pair, judged),
        )
        for row, name, is_back, pair, judged in rows
    )


def _said(pair: Preference | None, judged: CritiqueJudgement | None) -> dict[str, Any]:
    if pair is not None:
        return {
            "choice": pair.choice,
            "strength": pair.strength,
            "reasons": tuple(pair.reasons or ()),
            "shown_first": pair.shown_first,
        }
    if judged is not None:
        return {
            "judgement": judged.judgement,
            "is_helpful": judged.is_helpful,
            "is_verdict_right": judged.is_verdict_right,
            "correction": judged.correction,
        }
    return {}


def _decision(session: Session, task_id: int) -> WholeDecision | None:
    row = session.execute(
        sa.select(TaskAdjudication, Annotator.name)
        .join(Annotator, Annotator.annotator_id == TaskAdjudication.annotator_id)
        .where(TaskAdjudication.task_id == task_id)
        .order_by(TaskAdjudication.created_at.desc(), TaskAdjudication.annotator_id.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    found, name = row
    return WholeDecision(
        choice=found.choice,
        judgement=found.judgement,
        is_verdict_right=found.is_verdict_right,
        reviewer=name,
        adopted_from_id=found.adopted_from_id,
        note=found.note,
        created_at=found.created_at,
    )
