"""The queue of a reviewer: tasks with two answers or more, lowest agreement first.

What is compared is a unit: a step of a step task; the choice of a pair; of a critique, the judgement, and whether its
verdict is right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..connect import reading
from ..models import (
    CRITIQUE_JUDGEMENTS,
    PREFERENCE_CHOICES,
    Adjudication,
    Annotation,
    CritiqueJudgement,
    Preference,
    Problem,
    Project,
    Solution,
    StepLabel,
    Task,
    TaskAdjudication,
)

_JUDGED = ("found_error", "solution", "give_up")


@dataclass(frozen=True, slots=True)
class Contested:
    """A task in the adjudication queue."""

    task_id: int
    solution_id: int
    project: str | None
    statement: str
    n_answers: int
    agreement: float
    """Share of pairs of annotators who say the same of a unit, over the units that two or more judged."""
    n_contested: int
    """Units on which they differ."""
    n_decided: int
    """Steps that a reviewer decided; of a pair or critique, 1 where it is decided."""
    after: tuple[float, int]
    """Where the next page begins."""


def contested_tasks(
    engine: sa.Engine,
    *,
    kind: str = "steps",
    project_id: int | None = None,
    only_open: bool = True,
    after: tuple[float, int] | None = None,
    n: int = 20,
) -> list[Contested]:
    """Tasks of a kind with two answers or more, lowest agreement first.

    Args:
        engine: The database.
        kind: `steps`, `preference` or `critique`.
        project_id: Only this project's.
        only_open: Only tasks that have a unit on which people differ and nobody has decided.
        after: `after` of the last row of the page before; None for the first page.
        n: Rows of a page.
    """
    units = _units(kind, project_id).subquery()
    is_waiting = sa.and_(units.c.is_mixed == 1, ~_is_decided(kind, units))
    decided = _decided(kind).subquery()
    agreement = sa.func.avg(sa.cast(units.c.same, sa.Float) / (units.c.n * (units.c.n - 1))).label("agreement")
    by_task = (
        sa.select(
            units.c.task_id,
            agreement,
            sa.func.sum(units.c.is_mixed).label("n_contested"),
            sa.func.sum(sa.case((is_waiting, 1), else_=0)).label("n_waiting"),
            sa.func.max(units.c.n).label("n_answers"),
        )
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


def count_contested(engine: sa.Engine, *, kind: str = "steps", project_id: int | None = None) -> tuple[int, int]:
    """How many tasks of a kind have two answers or more that share a unit, and how many of these differ undecided."""
    units = _units(kind, project_id).subquery()
    is_waiting = sa.and_(units.c.is_mixed == 1, ~_is_decided(kind, units))
    by_task = (
        sa.select(units.c.task_id, sa.func.max(sa.case((is_waiting, 1), else_=0)).label("is_waiting"))
        .where(units.c.n > 1)
        .group_by(units.c.task_id)
        .subquery()
    )
    with reading(engine) as session:
        n, waiting = session.execute(
            sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(by_task.c.is_waiting), 0)).select_from(by_task)
        ).one()
        return int(n), int(waiting)


def _units(kind: str, project_id: int | None) -> Any:
    """A row for each unit of a task: how many current answers judge it, and how far they say the same."""
    if kind == "steps":
        query = (
            _said(StepLabel, "steps", StepLabel.step_index.label("unit"), StepLabel.label, (1, 0, -1))
            .where(Annotation.segments.is_(sa.null()), Annotation.finish_reason.in_(_JUDGED))
            .group_by(StepLabel.step_index)
        )
        return _of_project(query, project_id)
    if kind == "preference":
        choice = sa.literal("choice").label("unit")
        return _of_project(_said(Preference, kind, choice, Preference.choice, PREFERENCE_CHOICES), project_id)
    judgement = sa.literal("judgement").label("unit")
    verdict = sa.literal("verdict").label("unit")
    is_right = CritiqueJudgement.is_verdict_right
    judgements = _said(CritiqueJudgement, kind, judgement, CritiqueJudgement.judgement, CRITIQUE_JUDGEMENTS)
    verdicts = _said(CritiqueJudgement, kind, verdict, is_right, (sa.true(), sa.false()))
    return sa.union_all(
        _of_project(judgements, project_id), _of_project(verdicts.where(is_right.is_not(None)), project_id)
    )


def _said(below: Any, kind: str, unit: Any, column: Any, values: Sequence[Any]) -> sa.Select[*tuple[Any, ...]]:
    """Counts, for each task, the current answers of a kind by what they say in a column of a table below them."""
    n = sa.func.count()
    each = [sa.func.sum(sa.case((column == value, 1), else_=0)) for value in values]
    same: Any = sum((count * (count - 1) for count in each[1:]), each[0] * (each[0] - 1))
    return (
        sa.select(
            Annotation.task_id,
            unit,
            n.label("n"),
            same.label("same"),
            sa.case((sa.and_(*(count < n for count in each)), 1), else_=0).label("is_mixed"),
        )
        .join(below, below.annotation_id == Annotation.annotation_id)
        .join(Task, Task.task_id == Annotation.task_id)
        .where(Annotation.superseded_by_id.is_(None), Annotation.kind == kind, Task.kind == kind)
        .group_by(Annotation.task_id)
    )


def _of_project(query: sa.Select[*tuple[Any, ...]], project_id: int | None) -> sa.Select[*tuple[Any, ...]]:
    return query if project_id is None else query.where(Task.project_id == project_id)


def _is_decided(kind: str, units: Any) -> sa.Exists:
    if kind == "steps":
        return sa.exists().where(Adjudication.task_id == units.c.task_id, Adjudication.step_index == units.c.unit)
    return sa.exists().where(TaskAdjudication.task_id == units.c.task_id)


def _decided(kind: str) -> sa.Select[*tuple[Any, ...]]:
    if kind == "steps":
        n = sa.func.count(sa.distinct(Adjudication.step_index)).label("n_decided")
        return sa.select(Adjudication.task_id, n).group_by(Adjudication.task_id)
    one = sa.literal(1).label("n_decided")
    return sa.select(TaskAdjudication.task_id, one).group_by(TaskAdjudication.task_id)
