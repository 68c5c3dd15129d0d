"""Where a person may work: the open projects, and the tasks outside any, with their place in each."""

from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.projects import ProjectSettings, read_settings

from ..connect import reading
from ..models import Membership, Project
from .eligibility import known_tasks

_DEFAULTS = ProjectSettings()


@dataclass(frozen=True, slots=True)
class Pool:
    """The tasks of one project, or those outside any, and the state in which a person is there."""

    project_id: int | None
    name: str | None
    kind: str
    mode: str
    settings: ProjectSettings
    state: Literal["testing", "active", "paused"]
    reason: str | None
    """Why there is nothing to do for this person, in a sentence; None where there may be."""


OUTSIDE = Pool(None, None, "steps", "first_error", _DEFAULTS, "active", None)
"""Tasks that belong to no project."""


def workable_pools(engine: sa.Engine, annotator_id: int) -> list[Pool]:
    """The open projects that this person can see, by name, paused ones included."""
    with reading(engine) as session:
        return [pool for pool in pools_of(session, annotator_id) if pool.project_id is not None]


def pools_of(session: Session, annotator_id: int) -> list[Pool]:
    """The tasks outside any project, then the open projects that this person can see, by name.

    Who is no member of a project for everyone is active in it; testing, where it has an entry test.
    """
    rows = session.execute(
        sa.select(Project, Membership)
        .outerjoin(
            Membership,
            sa.and_(Membership.project_id == Project.project_id, Membership.annotator_id == annotator_id),
        )
        .where(Project.is_open, sa.or_(Project.access == "everyone", Membership.annotator_id.is_not(None)))
        .order_by(Project.name)
    ).all()
    return [OUTSIDE, *(_pool(session, project, member) for project, member in rows)]


def _pool(session: Session, project: Project, member: Membership | None) -> Pool:
    settings = read_settings(project.settings)
    state: Literal["testing", "active", "paused"] = "active"
    reason = None
    if member is not None and member.state == "paused":
        state, reason = "paused", f"You are paused in project {project.name!r}"
        reason += f": {member.reason}" if member.reason else "."
    elif settings.n_entry_tasks and (member is None or member.state == "testing"):
        state = "testing"
        n_there = len(session.scalars(known_tasks(project.project_id, "entry").limit(settings.n_entry_tasks)).all())
        if n_there < settings.n_entry_tasks:
            reason = (
                f"The entry test of project {project.name!r} has {n_there} of {settings.n_entry_tasks} tasks; "
                "whoever leads it must add the others first."
            )
    return Pool(project.project_id, project.name, project.kind, project.mode, settings, state, reason)


def settings_of(session: Session, project_id: int | None) -> tuple[str | None, ProjectSettings]:
    """Name and settings of a task's project; the defaults outside any."""
    if project_id is None:
        return None, _DEFAULTS
    project = session.get_one(Project, project_id)
    return project.name, read_settings(project.settings)
