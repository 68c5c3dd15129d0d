"""Opening a task of one's choice: a person takes one that is there, or one that is made for them alone.

What holds for tasks that are handed out holds here too: nobody takes one that others have in hand or have answered as
often as it wants, that is somebody else's, or of a project in which they do not work.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import InputError

from ..connect import writing
from ..models import Annotator, Event, Project, Solution, Task
from .adding import STEP_MODES, Facts, Wanted
from .claims import lease
from .eligibility import is_answered_by, is_sent_back_to, may_answer
from .pools import Pool, pools_of

_OPENED = ("label", "relabel", "calibration")
"""Purposes of tasks that can be opened; the others measure people, and come by themselves."""
_FIRST = 1000.0


def open_task(engine: sa.Engine, annotator_id: int, task_id: int, *, lease_s: int = 1800) -> int | None:
    """Puts a task into a person's hands; returns its project.

    Raises:
        InputError: There is no such task, or this person cannot have it; the message says why.
    """
    with writing(engine) as session:
        pools = _places(session, annotator_id)
        task = session.scalar(sa.select(Task).where(Task.task_id == task_id).with_for_update())
        if task is None:
            raise InputError(f"there is no task {task_id}")
        _check_place(session, pools, task.project_id)
        if problem := _problem(session, task, annotator_id):
            raise InputError(problem)
        lease(session, task_id, annotator_id, lease_s=lease_s)
        return task.project_id


def open_solution(
    engine: sa.Engine,
    annotator_id: int,
    solution_id: int,
    *,
    project_id: int | None = None,
    mode: str = "first_error",
    lease_s: int = 1800,
) -> int:
    """Puts a task about the steps of a solution into a person's hands; returns the task.

    One that is there in this project and mode is taken, if it can be; where there is none, one is made for this
    person alone.

    Raises:
        InputError: The solution cannot be labelled, or its task cannot be this person's; the message says why.
    """
    if mode not in STEP_MODES or mode == "alternatives":
        raise InputError(f"mode {mode!r} cannot be opened for a solution; use first_error, all_steps or verify")
    with writing(engine) as session:
        pools = _places(session, annotator_id)
        # Two who open the same solution at once: the second finds the first one's task.
        session.execute(
            sa.select(Solution.solution_id).where(Solution.solution_id == solution_id).with_for_update(key_share=True)
        )
        if why := Facts(session, [Wanted(solution_id)], "steps", mode).unfit(Wanted(solution_id)):
            raise InputError(f"solution {solution_id} cannot be labelled: {why}")
        _check_place(session, pools, project_id)
        there = session.scalars(
            sa.select(Task)
            .where(
                Task.solution_id == solution_id,
                Task.kind == "steps",
                Task.mode == mode,
                Task.purpose.in_(_OPENED),
                sa.func.coalesce(Task.project_id, 0) == (project_id or 0),
            )
            .order_by(Task.task_id)
            .with_for_update()
        ).all()
        task = _takeable(session, there, annotator_id)
        if task is None:
            task = Task(
                project_id=project_id,
                assigned_to_id=annotator_id,
                kind="steps",
                mode=mode,
                solution_id=solution_id,
                priority=_FIRST,
                reason="by hand",
                n_wanted=1,
            )
            session.add(task)
            session.flush()
            session.add(Event(kind="task_opened", annotator_id=annotator_id, task_id=task.task_id))
        lease(session, task.task_id, annotator_id, lease_s=lease_s)
        return task.task_id


def _places(session: Session, annotator_id: int) -> Sequence[Pool]:
    """Where the person works; one opening or claim of a person at a time, as in `claims`."""
    session.execute(
        sa.select(Annotator.annotator_id)
        .where(Annotator.annotator_id == annotator_id)
        .with_for_update(key_share=True)
    )
    return pools_of(session, annotator_id)


def _check_place(session: Session, pools: Sequence[Pool], project_id: int | None) -> None:
    pool = next((pool for pool in pools if pool.project_id == project_id), None)
    if pool is None:
        project = None if project_id is None else session.get(Project, project_id)
        if project is None:
            raise InputError(f"there is no project {project_id}")
        why = "you are no member of it" if project.is_open else "it is closed"
        raise InputError(f"no task of project {project.name!r} can be opened: {why}")
    if pool.state == "paused":
        raise InputError(pool.reason or f"you are paused in project {pool.name!r}")
    if pool.state == "testing":
        raise InputError(f"project {pool.name!r} has an entry test, which comes before its other tasks")


def _takeable(session: Session, tasks: Sequence[Task], annotator_id: int) -> Task | None:
    """The first task that this person can have; None where there is none at all."""
    problems = []
    for task in tasks:
        problem = _problem(session, task, annotator_id)
        if problem is None:
            return task
        problems.append(problem)
    if problems:
        raise InputError(problems[0])
    return None


def _problem(session: Session, task: Task, annotator_id: int) -> str | None:
    """Why this person cannot have a task, whose row is locked; None if they can."""

    def holds(condition: sa.ColumnElement[bool]) -> bool:
        return bool(session.scalar(sa.select(condition).where(Task.task_id == task.task_id)))

    name = f"task {task.task_id}"
    if task.purpose not in _OPENED:
        return f"{name} is there for {task.purpose}; such tasks come by themselves"
    if task.assigned_to_id not in (None, annotator_id):
        return f"{name} is assigned to somebody else"
    if holds(is_sent_back_to(annotator_id)):
        return None
    if holds(is_answered_by(annotator_id)):
        return f"you have answered {name}; going back on Label changes your last ten answers, sending back any"
    if not task.is_open:
        return f"{name} is done: it has the {task.n_wanted} answers that it wants"
    if not holds(may_answer(annotator_id)):
        return f"{name} is in other people's hands, and wants no more answers than theirs"
    return None
