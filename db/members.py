"""Who takes part in a project, and whether they get its tasks."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import InputError

from .connect import reading, writing
from .models import MEMBER_STATES, Annotation, Annotator, Event, Membership, Project, Task


@dataclass(frozen=True, slots=True)
class Member:
    """An annotator's place in a project."""

    annotator_id: int
    name: str
    role: str
    state: str
    reason: str | None
    """Why it is paused."""
    n_answers: int
    """Current answers in the project."""
    created_at: dt.datetime


def list_members(engine: sa.Engine, project_id: int) -> list[Member]:
    """The members of a project by name."""
    n_answers = (
        sa.select(sa.func.count())
        .select_from(Annotation)
        .join(Task, Task.task_id == Annotation.task_id)
        .where(
            Task.project_id == Membership.project_id,
            Annotation.annotator_id == Membership.annotator_id,
            Annotation.superseded_by_id.is_(None),
        )
        .correlate(Membership)
        .scalar_subquery()
    )
    with reading(engine) as session:
        return [
            Member(row.annotator_id, name, role, row.state, row.reason, n, row.created_at)
            for row, name, role, n in session.execute(
                sa.select(Membership, Annotator.name, Annotator.role, n_answers)
                .join(Annotator, Annotator.annotator_id == Membership.annotator_id)
                .where(Membership.project_id == project_id)
                .order_by(Annotator.name)
            )
        ]


def set_members(
    engine: sa.Engine,
    project_id: int,
    names: Iterable[str],
    *,
    state: str = "active",
    reason: str | None = None,
    author_id: int | None = None,
) -> int:
    """Adds people to a project, or changes the state in which they are; returns how many changed.

    Args:
        engine: The database.
        project_id: The project.
        names: Of people that are there already.
        state: `testing` (answers the entry tasks first), `active`, or `paused` (gets no tasks).
        reason: Why they are paused; they read it.
        author_id: Who says so, for the record.

    Raises:
        InputError: A name is nobody's or a model's, the state is unknown, or a pause has no reason.
    """
    if state not in MEMBER_STATES:
        raise InputError(f"state is {state!r}; use one of {', '.join(MEMBER_STATES)}")
    reason = (reason or "").strip() or None
    if state == "paused" and reason is None:
        raise InputError("a pause needs a reason; the person reads it in the place of tasks")
    changed = 0
    with writing(engine) as session:
        if session.get(Project, project_id) is None:
            raise InputError(f"there is no project {project_id}")
        for name in names:
            annotator_id = person_id(session, name)
            row = session.get(Membership, (project_id, annotator_id))
            if row is None:
                row = Membership(project_id=project_id, annotator_id=annotator_id, state=state, reason=reason)
                session.add(row)
            elif (row.state, row.reason) == (state, reason if state == "paused" else None):
                continue
            row.state = state
            row.reason = reason if state == "paused" else None
            changed += 1
            session.add(
                Event(
                    kind="member_set",
                    annotator_id=annotator_id,
                    data={"project_id": project_id, "state": state, "reason": reason, "by": author_id},
                )
            )
    return changed


def remove_members(engine: sa.Engine, project_id: int, names: Iterable[str], *, author_id: int | None = None) -> int:
    """Takes people out of a project; their labels stay. Returns how many were members."""
    removed = 0
    with writing(engine) as session:
        for name in names:
            row = session.get(Membership, (project_id, person_id(session, name)))
            if row is not None:
                session.delete(row)
                removed += 1
                session.add(
                    Event(
                        kind="member_removed",
                        annotator_id=row.annotator_id,
                        data={"project_id": project_id, "by": author_id},
                    )
                )
    return removed


def person_id(session: Session, name: str) -> int:
    """The id of the person of this name.

    Raises:
        InputError: Nobody has it, or a model or program has.
    """
    row = session.scalar(sa.select(Annotator).where(Annotator.name == name.strip()))
    if row is None:
        raise InputError(f"there is no annotator {name!r}; invite them first, or look for a typing error")
    if row.kind != "person":
        raise InputError(f"{name!r} is a {row.kind}; only people are members of projects")
    return row.annotator_id
