"""What reviewers decided, which goes before what labellers say. Of several decisions the latest stands."""

from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.bulk import is_among
from db.models import Adjudication, Solution, Task, TaskAdjudication

from .labels import LabelFilter
from .selection import Page

DecidedSteps = Mapping[int, Mapping[int, int]]
"""Labels by solution and step."""


def asks_about_steps(session: Session, options: LabelFilter) -> bool:
    """Whether decisions on steps count, and there are any."""
    found = sa.select(Adjudication.adjudication_id).limit(1)
    return options.adjudicated != "ignore" and session.scalar(found) is not None


def decided_steps(session: Session, page: Page) -> DecidedSteps:
    """Decisions on steps of a page's solutions."""
    query = (
        sa.select(Task.solution_id, Adjudication.step_index, Adjudication.label)
        .join(Task, Task.task_id == Adjudication.task_id)
        .join(Solution, Solution.solution_id == Task.solution_id)
        .where(page.holds(Solution.problem_id))
        .order_by(Adjudication.adjudication_id)
    )
    decided: dict[int, dict[int, int]] = {}
    for solution_id, step_index, label in session.execute(query):
        decided.setdefault(solution_id, {})[step_index] = label
    return decided


def decided_pairs(session: Session, page: Page) -> dict[int | None, TaskAdjudication]:
    """Decisions on pairs of a page's solutions, by task."""
    query = (
        sa.select(TaskAdjudication)
        .join(Task, Task.task_id == TaskAdjudication.task_id)
        .join(Solution, Solution.solution_id == Task.solution_id)
        .where(page.holds(Solution.problem_id), TaskAdjudication.choice.is_not(None))
        .order_by(TaskAdjudication.created_at, TaskAdjudication.annotator_id)
    )
    return {decision.task_id: decision for decision in session.scalars(query)}


def decided_critiques(session: Session, critique_ids: Collection[int]) -> dict[int, TaskAdjudication]:
    """Decisions on critiques, by critique."""
    query = (
        sa.select(Task.critique_id, TaskAdjudication)
        .join(Task, Task.task_id == TaskAdjudication.task_id)
        .where(is_among(session, Task.critique_id, critique_ids), TaskAdjudication.judgement.is_not(None))
        .order_by(TaskAdjudication.created_at, TaskAdjudication.annotator_id)
    )
    return {critique_id: decision for critique_id, decision in session.execute(query) if critique_id is not None}
