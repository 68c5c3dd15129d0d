"""Tasks with a known answer: gold, entry tests, practice, calibration; tasks for one person, or for a second time.

Known answers are typed in, or taken from labels that are already there, such as experts' of a published set.
"""

import heapq
import itertools
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import InputError
from stepmark.known_answers import check_known_answer

from .connect import reading, writing
from .members import person_id
from .models import (
    Annotation,
    Annotator,
    Claim,
    Event,
    Guideline,
    KnownAnswer,
    Membership,
    Project,
    Solution,
    StepLabel,
    Task,
)
from .projects import WORK
from .selection import check_sources, name_like, solution_in_source
from .tasks import COUNTING_REASONS, AddedTasks

KNOWN_PURPOSES = ("gold", "entry", "practice", "calibration")
_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Known:
    """A solution whose labels are known."""

    solution_id: int
    answer: Mapping[str, Any]
    note: str | None = None
    """Why, to be read after the answer."""


def add_known_tasks(
    engine: sa.Engine,
    project_id: int,
    answers: Iterable[Known],
    *,
    purpose: str = "gold",
    author_id: int | None = None,
) -> AddedTasks:
    """Adds step tasks with known answers to a project; they never fill up: everybody in it gets each of them once.

    Returns:
        Counts; dropped are solutions that have such a task in the project, and that do not exist or have no steps.

    Raises:
        InputError: The purpose is unknown, the project labels no steps, or an answer cannot be used.
    """
    if purpose not in KNOWN_PURPOSES:
        raise InputError(f"purpose is {purpose!r}; use one of {', '.join(KNOWN_PURPOSES)}")
    read = kept = 0
    dropped = {"already there": 0, "no steps": 0, "no such solution": 0}
    items = iter(answers)
    while chunk := list(itertools.islice(items, _CHUNK)):
        with writing(engine) as session:
            project = _steps_project(session, project_id)
            ids = [item.solution_id for item in chunk]
            there = set(
                session.scalars(
                    sa.select(Task.solution_id).where(
                        Task.project_id == project_id, Task.purpose == purpose, Task.solution_id.in_(ids)
                    )
                )
            )
            solutions = {
                row.solution_id: row
                for row in session.execute(
                    sa.select(Solution.solution_id, Solution.steps, Solution.answer).where(
                        Solution.solution_id.in_(ids)
                    )
                )
            }
            for item in chunk:
                read += 1
                solution = solutions.get(item.solution_id)
                if solution is None:
                    dropped["no such solution"] += 1
                    continue
                if not solution.steps:
                    dropped["no steps"] += 1
                    continue
                if item.solution_id in there:
                    dropped["already there"] += 1
                    continue
                there.add(item.solution_id)
                n_segments = len(solution.steps) + (solution.answer is not None)
                answer = check_known_answer(item.answer, "steps", n_segments=n_segments)
                task = Task(
                    project_id=project_id,
                    purpose=purpose,
                    kind="steps",
                    mode=project.mode if project.mode in ("first_error", "all_steps") else "first_error",
                    solution_id=item.solution_id,
                    reason=purpose,
                )
                session.add(task)
                session.flush()
                session.add(KnownAnswer(task_id=task.task_id, answer=answer, note=item.note))
                kept += 1
            session.add(
                Event(
                    kind="known_tasks_added",
                    annotator_id=author_id,
                    data={"project_id": project_id, "purpose": purpose, "n": len(chunk)},
                )
            )
    return AddedTasks(read, kept, {why: count for why, count in dropped.items() if count})


def known_from_labels(
    engine: sa.Engine, *, labeller: str, source: str = "*", limit: int = 50, seed: int = 0
) -> list[Known]:
    """Takes known answers from the current labels of a labeller, of solutions drawn at random.

    Args:
        engine: The database.
        labeller: Name of a person, model or program; `*` stands for any text.
        source: Source of the solutions; `*` stands for any text.
        limit: At most this many.
        seed: Of the draw.

    Raises:
        InputError: No source or labeller fits, or `limit` is below 1.
    """
    if limit < 1:
        raise InputError(f"limit is {limit}; give at least 1")
    with reading(engine) as session:
        check_sources(session, [source])
        if (
            session.scalar(sa.select(Annotator.annotator_id).where(name_like(Annotator.name, labeller)).limit(1))
            is None
        ):
            names = session.scalars(
                sa.select(Annotator.name)
                .where(sa.exists().where(Annotation.annotator_id == Annotator.annotator_id))
                .order_by(Annotator.name)
                .limit(20)
            ).all()
            raise InputError(f"no labeller is named like {labeller!r}; there are: {', '.join(names) or 'none yet'}")
        candidates = session.execute(
            sa.select(sa.func.max(Annotation.annotation_id), Annotation.solution_id)
            .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
            .join(Solution, Solution.solution_id == Annotation.solution_id)
            .where(
                name_like(Annotator.name, labeller),
                solution_in_source(source),
                Annotation.superseded_by_id.is_(None),
                Annotation.kind == "steps",
                Annotation.segments.is_(sa.null()),
                sa.exists().where(StepLabel.annotation_id == Annotation.annotation_id),
            )
            .group_by(Annotation.solution_id)
            .order_by(Annotation.solution_id)
            .execution_options(yield_per=10_000)
        )
        rng = random.Random(seed)
        drawn = heapq.nsmallest(limit, candidates, key=lambda _row: rng.random())
        chosen: dict[int, int] = {annotation_id: solution_id for annotation_id, solution_id in drawn}
        labels: dict[int, dict[int, int]] = {}
        for annotation_id, index, label in session.execute(
            sa.select(StepLabel.annotation_id, StepLabel.step_index, StepLabel.label).where(
                StepLabel.annotation_id.in_(chosen)
            )
        ):
            labels.setdefault(annotation_id, {})[index] = label
    return [
        Known(solution_id, {"labels": [labels[id_].get(index) for index in range(max(labels[id_]) + 1)]})
        for id_, solution_id in chosen.items()
    ]


def known_counts(engine: sa.Engine, project_id: int) -> dict[str, int]:
    """How many tasks with a known answer a project has, by purpose."""
    with reading(engine) as session:
        return {
            purpose: count
            for purpose, count in session.execute(
                sa.select(Task.purpose, sa.func.count())
                .join(KnownAnswer, KnownAnswer.task_id == Task.task_id)
                .where(Task.project_id == project_id)
                .group_by(Task.purpose)
            )
        }


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
        project = _project(session, project_id)
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
        project = _project(session, project_id)
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
            newer.task_id > Task.task_id,
        ),
    )


def _version_in_force(session: Session, project_id: int) -> str | None:
    return session.scalar(
        sa.select(Guideline.version)
        .join(Project, Project.guideline_id == Guideline.guideline_id)
        .where(Project.project_id == project_id)
    )


def _project(session: Session, project_id: int) -> Project:
    row = session.get(Project, project_id)
    if row is None:
        raise InputError(f"there is no project {project_id}")
    return row


def _steps_project(session: Session, project_id: int) -> Project:
    row = _project(session, project_id)
    if row.kind != "steps":
        raise InputError(f"project {row.name!r} labels {row.kind}s; known labels of steps do not fit it")
    return row
