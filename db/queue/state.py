"""What waits to be labelled and what was labelled: the queue by its parts, and one person's share of it."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from ..connect import reading
from ..models import Annotation, Claim, Problem, Project, Solution, StepLabel, Task
from ..schema import utc_now
from ..tasks import pools_of
from ..tasks.eligibility import still_open

MOST_LEFT = 1000
"""What `counts_for` counts up to."""

_SHOWN = ("label", "relabel", "calibration")
"""Purposes of tasks that stand in the queue; what measures people does not show there."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """One line of the queue: the tasks of one project, kind and mode that one rule put in."""

    project: str | None
    """None: outside any."""
    reason: str | None
    kind: str
    mode: str
    """How steps are labelled; of no meaning for pairs and critiques."""
    n_open: int
    n_closed: int
    n_leased: int
    """Open tasks in somebody's hands now."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What one annotator has done, and what is left."""

    n_answered: int
    """Tasks answered, given up, skipped or called broken; corrections count once."""
    by_reason: dict[str, int]
    """By how they ended (`answered_how`)."""
    by_label: dict[int, int]
    n_unsure: int
    median_s: float | None
    """Median seconds on a task that was labelled; None where there is none."""
    n_left: int
    """Open tasks this annotator has not answered; some may be in others' hands."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One answered task, for the annotator's own list."""

    task_id: int
    statement: str
    finish_reason: str
    """How it ended (`answered_how`)."""
    first_error: int | None
    duration_ms: int | None


def queue_state(engine: sa.Engine) -> list[QueueState]:
    """The queue by project, rule, kind and mode, largest open part first."""
    leased = (
        sa.exists().where(Claim.task_id == Task.task_id, Claim.expires_at > utc_now()).correlate(Task)
    )  # a submission ends its lease
    n_open = sa.func.sum(sa.case((Task.is_open, 1), else_=0))
    with reading(engine) as session:
        rows = session.execute(
            sa.select(
                Project.name,
                Task.reason,
                Task.kind,
                Task.mode,
                n_open,
                sa.func.count(),
                sa.func.sum(sa.case((sa.and_(Task.is_open, leased), 1), else_=0)),
            )
            .select_from(Task)
            .outerjoin(Project, Project.project_id == Task.project_id)
            .where(Task.purpose.in_(_SHOWN))
            .group_by(Project.name, Task.reason, Task.kind, Task.mode)
            .order_by(n_open.desc(), Project.name, Task.reason, Task.kind, Task.mode)
        )
        return [
            QueueState(project, reason, kind, mode, int(is_open), int(total) - int(is_open), int(held))
            for project, reason, kind, mode, is_open, total, held in rows
        ]


def progress(engine: sa.Engine, annotator_id: int, *, reason: str | None = None) -> Progress:
    """What an annotator has done, and how much of the queue (or of the part `reason`) is left for them."""
    mine = sa.and_(
        Annotation.annotator_id == annotator_id,
        Annotation.superseded_by_id.is_(None),
        _is_work(),
    )
    with reading(engine) as session:
        how = answered_how()
        by_reason = {
            why: count
            for why, count in session.execute(sa.select(how, sa.func.count()).where(mine).group_by(how))
            if why is not None
        }
        labels = (
            sa.select(StepLabel.label, sa.func.count(), sa.func.sum(sa.case((StepLabel.is_unsure, 1), else_=0)))
            .join(Annotation, Annotation.annotation_id == StepLabel.annotation_id)
            .where(mine)
            .group_by(StepLabel.label)
        )
        by_label: dict[int, int] = {}
        n_unsure = 0
        for label, count, unsure in session.execute(labels):
            by_label[label] = count
            n_unsure += int(unsure)
        durations = session.scalars(
            sa.select(Annotation.duration_ms)
            .where(
                mine, Annotation.duration_ms.is_not(None), Annotation.finish_reason.in_(("found_error", "solution"))
            )
            .order_by(Annotation.duration_ms)
        ).all()
        n_left = _n_left(session, annotator_id, reason=reason)
    middle = [value for value in durations if value is not None]
    return Progress(
        n_answered=sum(by_reason.values()),
        by_reason=by_reason,
        by_label=by_label,
        n_unsure=n_unsure,
        median_s=middle[len(middle) // 2] / 1000 if middle else None,
        n_left=n_left,
    )


def counts_for(
    engine: sa.Engine, annotator_id: int, *, reason: str | None = None, project_id: int | None = None
) -> tuple[int, int]:
    """How many tasks an annotator has answered, and how many open ones are left; what the page shows all the time.

    Left are those of a project, where one is given; `MOST_LEFT` stands for that many or more, since the page asks
    again and again.
    """
    with reading(engine) as session:
        n_answered = session.scalar(
            sa.select(sa.func.count())
            .select_from(Annotation)
            .where(Annotation.annotator_id == annotator_id, Annotation.superseded_by_id.is_(None), _is_work())
        )
        left = _n_left(session, annotator_id, reason=reason, project_id=project_id, most=MOST_LEFT)
        return n_answered or 0, left


def recently_answered(engine: sa.Engine, annotator_id: int, *, n: int = 20) -> list[Answered]:
    """The tasks an annotator answered last, newest first."""
    with reading(engine) as session:
        rows = session.execute(
            sa.select(Annotation, answered_how(), Problem.statement)
            .join(Solution, Solution.solution_id == Annotation.solution_id)
            .join(Problem, Problem.problem_id == Solution.problem_id)
            .where(Annotation.annotator_id == annotator_id, Annotation.superseded_by_id.is_(None), _is_work())
            .order_by(Annotation.annotation_id.desc())
            .limit(n)
        )
        return [
            Answered(row.task_id or 0, statement, how or "", row.first_error, row.duration_ms)
            for row, how, statement in rows
        ]


def answered_how() -> sa.ColumnElement[str | None]:
    """How an answer ended: its finish reason; `answered` of a pair or critique, in which no error is looked for."""
    # Written out, not bound: PostgreSQL groups only by what is word for word what is selected.
    is_whole = sa.and_(
        Annotation.kind != sa.literal_column("'steps'"), Annotation.finish_reason == sa.literal_column("'solution'")
    )
    return sa.case((is_whole, sa.literal_column("'answered'")), else_=Annotation.finish_reason)


def _is_work() -> sa.ColumnElement[bool]:
    """Whether an annotation is an answer to a task, practice aside."""
    practice = sa.exists().where(Task.task_id == Annotation.task_id, Task.purpose == "practice").correlate(Annotation)
    return sa.and_(Annotation.task_id.is_not(None), ~practice)


def _n_left(
    session: Session, annotator_id: int, *, reason: str | None, project_id: int | None = None, most: int | None = None
) -> int:
    """Open tasks that this annotator may have and has not answered; `most` stands for that many or more."""
    pools = [
        pool.project_id or 0
        for pool in pools_of(session, annotator_id)
        if pool.state == "active" and project_id in (None, pool.project_id)
    ]
    # Expressions that no index serves: the first query goes through the open tasks, the second through the
    # annotator's own answers.
    part = [
        Task.purpose.in_(_SHOWN),
        sa.func.coalesce(Task.assigned_to_id, annotator_id) == annotator_id,
        sa.func.coalesce(Task.project_id, 0).in_(pools),
        *([] if reason is None else [Task.reason == reason]),
    ]
    mine = sa.select(Task.task_id).join_from(Annotation, Task, Task.task_id == Annotation.task_id)
    answered = mine.where(
        Annotation.annotator_id == annotator_id, Annotation.superseded_by_id.is_(None), still_open(), *part
    )
    n_answered = session.scalar(sa.select(sa.func.count()).select_from(answered.subquery())) or 0
    is_open = sa.select(Task.task_id).where(Task.is_open, *part)
    if most is not None:
        is_open = is_open.limit(most + n_answered)
    n_open = session.scalar(sa.select(sa.func.count()).select_from(is_open.subquery())) or 0
    return n_open - n_answered
