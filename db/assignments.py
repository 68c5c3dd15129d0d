"""Tasks for one person alone."""

import sqlalchemy as sa

from stepmark.errors import InputError

from .connect import writing
from .members import person_id
from .models import Claim, Event, Membership, Task
from .projects import WORK, project_row


def assign_tasks(
    engine: sa.Engine,
    project_id: int,
    name: str,
    *,
    n: int,
    reason: str | None = None,
    author_id: int | None = None,
) -> int:
    """Gives up to `n` open tasks of a project, which nobody has begun, to one person alone; returns how many.

    Raises:
        InputError: Nobody has this name, they are not in a project of members, or `n` is below 1.
    """
    if n < 1:
        raise InputError(f"n is {n}; give at least 1")
    with writing(engine) as session:
        project = project_row(session, project_id)
        annotator_id = person_id(session, name)
        if project.access == "members" and session.get(Membership, (project_id, annotator_id)) is None:
            raise InputError(f"{name!r} is no member of {project.name!r}; add them first")
        chosen = session.scalars(
            sa.select(Task.task_id)
            .where(
                Task.project_id == project_id,
                Task.is_open,
                Task.assigned_to_id.is_(None),
                Task.purpose.in_(WORK),
                *([] if reason is None else [Task.reason == reason]),
                ~sa.exists().where(Claim.task_id == Task.task_id),
            )
            .order_by(Task.priority.desc(), Task.task_id)
            .limit(n)
        ).all()
        session.execute(
            sa.update(Task).where(Task.task_id.in_(chosen)).values(assigned_to_id=annotator_id, n_wanted=1)
        )
        session.add(
            Event(
                kind="tasks_assigned",
                annotator_id=annotator_id,
                data={"project_id": project_id, "n": len(chosen), "by": author_id},
            )
        )
        return len(chosen)
