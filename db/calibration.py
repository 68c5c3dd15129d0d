"""Calibration rounds: the same few tasks for everybody in a project, then what each one said, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from stepmark.errors import InputError

from .connect import reading, writing
from .models import Annotation, Annotator, Event, KnownAnswer, Problem, Project, Solution, Task
from .selection import check_sources, solution_in_source

JUDGED = ("found_error", "solution")


@dataclass(frozen=True, slots=True)
class CalibrationTask:
    """A task of a round with everybody's answer to it."""

    task_id: int
    statement: str
    known: str | None
    """The known answer in words; None where there is none."""
    answers: Mapping[str, str]
    """By annotator, in words: `no error`, `step 3`, or how it ended."""
    is_unanimous: bool


def start_round(
    engine: sa.Engine, project_id: int, *, n: int = 10, source: str = "*", author_id: int | None = None
) -> str:
    """Draws solutions that the project has no calibration task of, and makes a round of them; returns its name.

    Its tasks stand before all others, for everybody in the project.

    Raises:
        InputError: There is no such project, it labels no steps, no source fits, or no solution is left.
    """
    if n < 1:
        raise InputError(f"n is {n}; give at least 1")
    with writing(engine) as session:
        project = session.get(Project, project_id)
        if project is None:
            raise InputError(f"there is no project {project_id}")
        if project.kind != "steps":
            raise InputError(f"project {project.name!r} labels {project.kind}; rounds are of steps")
        if source != "*":
            check_sources(session, [source])
        numbers = [
            int(name.rpartition(" ")[2])
            for name in session.scalars(
                sa.select(Task.reason)
                .where(
                    Task.project_id == project_id,
                    Task.purpose == "calibration",
                    Task.reason.like("calibration %"),
                )
                .distinct()
            )
            if name is not None and name.rpartition(" ")[2].isdecimal()
        ]
        name = f"calibration {max(numbers, default=0) + 1}"
        chosen = session.scalars(
            sa.select(Solution.solution_id)
            .where(
                solution_in_source(source),
                ~sa.exists().where(
                    Task.solution_id == Solution.solution_id,
                    # An expression, so that the planner goes by the solution.
                    sa.func.coalesce(Task.project_id, 0) == project_id,
                    Task.purpose == "calibration",
                ),
            )
            .order_by(sa.func.random())
            .limit(n)
        ).all()
        if not chosen:
            raise InputError(f"no solution of source {source!r} is left for a round of {project.name!r}")
        session.add_all(
            Task(
                project_id=project_id,
                purpose="calibration",
                kind="steps",
                mode=project.mode if project.mode in ("first_error", "all_steps") else "first_error",
                solution_id=solution_id,
                priority=2000.0,
                reason=name,
            )
            for solution_id in chosen
        )
        session.add(
            Event(
                kind="calibration_started",
                annotator_id=author_id,
                data={"project_id": project_id, "round": name, "n": len(chosen)},
            )
        )
        return name


def list_rounds(engine: sa.Engine, project_id: int) -> dict[str, int]:
    """Rounds of a project, newest first, with the number of their tasks."""
    with reading(engine) as session:
        return {
            name or "calibration": count
            for name, count in session.execute(
                sa.select(Task.reason, sa.func.count())
                .where(Task.project_id == project_id, Task.purpose == "calibration")
                .group_by(Task.reason)
                .order_by(sa.func.max(Task.task_id).desc())
            )
        }


def compare_round(engine: sa.Engine, project_id: int, name: str) -> list[CalibrationTask]:
    """What everybody said of each task of a round."""
    with reading(engine) as session:
        tasks = session.execute(
            sa.select(Task.task_id, Problem.statement, KnownAnswer.answer)
            .join(Solution, Solution.solution_id == Task.solution_id)
            .join(Problem, Problem.problem_id == Solution.problem_id)
            .outerjoin(KnownAnswer, KnownAnswer.task_id == Task.task_id)
            .where(Task.project_id == project_id, Task.purpose == "calibration", Task.reason == name)
            .order_by(Task.task_id)
            .limit(500)
        ).all()
        answers: dict[int, dict[str, str]] = {}
        for task_id, annotator, finish_reason, first_error in session.execute(
            sa.select(Annotation.task_id, Annotator.name, Annotation.finish_reason, Annotation.first_error)
            .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
            .where(Annotation.task_id.in_([row.task_id for row in tasks]), Annotation.superseded_by_id.is_(None))
            .order_by(Annotator.name)
        ):
            if task_id is not None:
                answers.setdefault(task_id, {})[annotator] = _words(finish_reason, first_error)
        return [
            CalibrationTask(
                task_id=row.task_id,
                statement=row.statement,
                known=None if row.answer is None else _known_words(row.answer.get("labels") or []),
                answers=answers.get(row.task_id, {}),
                is_unanimous=len(set(answers.get(row.task_id, {}).values())) <= 1,
            )
            for row in tasks
        ]


def _words(finish_reason: str | None, first_error: int | None) -> str:
    if finish_reason not in JUDGED:
        return (finish_reason or "unknown").replace("_", " ")
    return "no error" if first_error is None else f"step {first_error + 1}"


def _known_words(labels: list[int | None]) -> str:
    first = next((index for index, label in enumerate(labels) if label == -1), None)
    return _words("solution", first)
