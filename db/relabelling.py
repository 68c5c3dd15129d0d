"""Tasks answered under older rules than those in force: how many, and queueing them once more."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import InputError

from .connect import reading, writing
from .models import Annotation, Event, Guideline, Project, Task
from .projects import WORK, project_row
from .tasks import COUNTING_REASONS, AddedTasks


def count_stale(engine: sa.Engine, project_id: int) -> int:
    """How many tasks of a project have answers under older rules than those in force, and no new task yet."""
    with reading(engine) as session:
        version = _version_in_force(session, project_id)
        if version is None:
            return 0
        return session.scalar(sa.select(sa.func.count()).select_from(_stale(project_id, version).subquery())) or 0


def queue_relabel(
    engine: sa.Engine, project_id: int, *, limit: int = 100, author_id: int | None = None
) -> AddedTasks:
    """Puts tasks whose current answers name older rules than those in force into the queue once more.

    The new tasks have the purpose `relabel`, and want as many annotators as the old ones; the old answers stay.

    Raises:
        InputError: The project has the default rules, which have no versions here.
    """
    with writing(engine) as session:
        project = project_row(session, project_id)
        version = _version_in_force(session, project_id)
        if version is None:
            raise InputError(f"project {project.name!r} has the default rules; choose a version for it first")
        query = _stale(project_id, version).order_by(Task.task_id)
        n_read = session.scalar(sa.select(sa.func.count()).select_from(query.subquery())) or 0
        old: Sequence[Task] = session.scalars(
            sa.select(Task).where(Task.task_id.in_(query.limit(limit))).order_by(Task.task_id)
        ).all()
        session.add_all(
            Task(
                project_id=project_id,
                purpose="relabel",
                kind=task.kind,
                mode=task.mode,
                step_index=task.step_index,
                solution_id=task.solution_id,
                other_solution_id=task.other_solution_id,
                critique_id=task.critique_id,
                priority=task.priority,
                reason=f"relabel:{version}"[:64],
                n_wanted=task.n_wanted,
            )
            for task in old
        )
        session.add(
            Event(
                kind="relabel_queued",
                annotator_id=author_id,
                data={"project_id": project_id, "guideline": version, "n": len(old)},
            )
        )
        over = n_read - len(old)
        return AddedTasks(n_read, len(old), {"over the limit": over} if over else {})


def _stale(project_id: int, version: str) -> sa.Select[int]:
    newer = sa.orm.aliased(Task)
    return sa.select(Task.task_id).where(
        Task.project_id == project_id,
        Task.purpose.in_(WORK),
        sa.exists().where(
            Annotation.task_id == Task.task_id,
            Annotation.superseded_by_id.is_(None),
            Annotation.finish_reason.in_(COUNTING_REASONS),
            sa.or_(Annotation.guideline.is_(None), Annotation.guideline != version),
        ),
        ~sa.exists().where(
            # An expression, so that the planner goes by the solution and not through all tasks of the project.
            sa.func.coalesce(newer.project_id, 0) == project_id,
            newer.purpose == "relabel",
            newer.solution_id == Task.solution_id,
            newer.kind == Task.kind,
            newer.mode == Task.mode,
            sa.func.coalesce(newer.step_index, -1) == sa.func.coalesce(Task.step_index, -1),
            sa.func.coalesce(newer.other_solution_id, 0) == sa.func.coalesce(Task.other_solution_id, 0),
            sa.func.coalesce(newer.critique_id, 0) == sa.func.coalesce(Task.critique_id, 0),
            newer.task_id > Task.task_id,
        ),
    )


def _version_in_force(session: Session, project_id: int) -> str | None:
    return session.scalar(
        sa.select(Guideline.version)
        .join(Project, Project.guideline_id == Guideline.guideline_id)
        .where(Project.project_id == project_id)
    )
