"""Conditions on tasks: answered, leased, with room for one more. Subqueries on `Task`, for claims and submissions.

A condition is built once a person and kept: putting its expressions together takes longer than the database needs to
answer it. None holds a value that changes; the time is the database's.
"""

from functools import lru_cache

import sqlalchemy as sa

from ..models import Annotation, Claim, KnownAnswer, Note, Task
from ..schema import utc_now
from .rules import COUNTING_REASONS

_kept = lru_cache(maxsize=2_000)

FILLING_PURPOSES = ("label", "relabel", "repeat")
"""Purposes of tasks that close when enough people have answered; the others are for everybody."""


@_kept
def n_answers() -> sa.ScalarSelect[int]:
    """Current answers that satisfy the task."""
    return (
        sa.select(sa.func.count())
        .select_from(Annotation)
        .where(
            Annotation.task_id == Task.task_id,
            Annotation.superseded_by_id.is_(None),
            Annotation.finish_reason.in_(COUNTING_REASONS),
        )
        .correlate(Task)
        .scalar_subquery()
    )


@_kept
def has_room(annotator_id: int) -> sa.ColumnElement[bool]:
    """Answers and other annotators' live leases leave room for one more; always so where a task never fills up."""
    n_leased = (
        sa.select(sa.func.count())
        .select_from(Claim)
        .where(Claim.task_id == Task.task_id, Claim.annotator_id != annotator_id, Claim.expires_at > utc_now())
        .correlate(Task)
        .scalar_subquery()
    )
    return sa.or_(Task.purpose.not_in(FILLING_PURPOSES), n_answers() + n_leased < Task.n_wanted)


@_kept
def is_answered_by(annotator_id: int) -> sa.Exists:
    """The annotator has a current answer to it."""
    return (
        sa.exists()
        .where(
            Annotation.task_id == Task.task_id,
            Annotation.annotator_id == annotator_id,
            Annotation.superseded_by_id.is_(None),
        )
        .correlate(Task)
    )


@_kept
def is_sent_back_to(annotator_id: int) -> sa.Exists:
    """A reviewer wants the annotator to answer it again, and that has not happened yet."""
    return (
        sa.exists()
        .where(
            Note.task_id == Task.task_id,
            Note.annotator_id == annotator_id,
            Note.kind == "sent_back",
            Note.read_at.is_(None),
        )
        .correlate(Task)
    )


@_kept
def is_leased_to(annotator_id: int) -> sa.Exists:
    """The annotator holds a live lease on it."""
    return (
        sa.exists()
        .where(Claim.task_id == Task.task_id, Claim.annotator_id == annotator_id, Claim.expires_at > utc_now())
        .correlate(Task)
    )


@_kept
def may_answer(annotator_id: int) -> sa.ColumnElement[bool]:
    """The lease is alive, or it ran out while the task still has room."""
    return sa.or_(is_leased_to(annotator_id), has_room(annotator_id))


@_kept
def is_untouched_by(annotator_id: int) -> sa.ColumnElement[bool]:
    """Neither answered by the annotator nor in their hands."""
    return sa.and_(~is_answered_by(annotator_id), ~is_leased_to(annotator_id))


@_kept
def still_open() -> sa.ColumnElement[bool]:
    """The task is open, said so that SQLite does not go through all open tasks where a few are named."""
    return Task.is_open.is_not(False)


@_kept
def in_pool(project_id: int | None) -> sa.ColumnElement[bool]:
    """The task is of this project, or of none."""
    return Task.project_id.is_(None) if project_id is None else Task.project_id == project_id


@_kept
def walks_pool(project_id: int | None) -> sa.ColumnElement[bool]:
    """As `in_pool`, by an expression that no index serves: for walks along another index, in the order of the queue.

    SQLite, which keeps no statistics, would else read all the project's tasks and sort them.
    """
    return sa.func.coalesce(Task.project_id, 0) == (project_id or 0)


def known_tasks(project_id: int | None, purpose: str) -> sa.Select[int]:
    """Ids of a project's tasks with a known answer, by way of the answers, which are few.

    Compared as in `walks_pool`: the planner would else read every task of the project to find the few.
    """
    return sa.select(Task.task_id).where(
        Task.task_id.in_(sa.select(KnownAnswer.task_id)), walks_pool(project_id), Task.purpose == purpose
    )
