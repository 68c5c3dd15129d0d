"""Calibration rounds: the same few tasks for everybody in a project, then what each one said, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import InputError

from .connect import reading, writing
from .known_tasks import known_task
from .models import (
    Annotation,
    Annotator,
    Critique,
    CritiqueJudgement,
    Event,
    KnownAnswer,
    Preference,
    Problem,
    Project,
    Solution,
    Task,
)
from .projects import project_row
from .queue.wanted import random_pairs
from .selection import check_sources, solution_in_source
from .tasks import Wanted
from .tasks.adding import Facts

JUDGED = ("found_error", "solution")
_URGENT = 2000.0
_CHOICES = {"a": "A", "b": "B", "equal": "equal", "both_bad": "both bad"}
_NOUNS = {"steps": "solution", "preference": "pair of solutions", "critique": "critique"}


@dataclass(frozen=True, slots=True)
class CalibrationTask:
    """A task of a round with everybody's answer to it."""

    task_id: int
    statement: str
    known: str | None
    """The known answer in words; None where there is none."""
    answers: Mapping[str, str]
    """By annotator, in words: `no error` or `step 3`; `A` (the pair's first), `B`, `equal`, `both bad`; `right`,
    `partly`, `wrong`; or how it ended."""
    is_unanimous: bool


def start_round(
    engine: sa.Engine, project_id: int, *, n: int = 10, source: str = "*", author_id: int | None = None
) -> str:
    """Draws what the project has no calibration task of, and makes a round of it; returns the round's name.

    Solutions, pairs or critiques, as the project labels. Its tasks stand before all others, for everybody in it.

    Raises:
        InputError: There is no such project, no source fits, or nothing is left to draw.
    """
    if n < 1:
        raise InputError(f"n is {n}; give at least 1")
    with writing(engine) as session:
        project = project_row(session, project_id)
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
        number = max(numbers, default=0) + 1
        name = f"calibration {number}"
        drawn = _drawn(session, project, n=n, source=source, seed=number)
        if not drawn:
            noun = _NOUNS[project.kind]
            raise InputError(f"no {noun} of source {source!r} is left for a round of {project.name!r}")
        session.add_all(
            known_task(project, item, purpose="calibration", reason=name, priority=_URGENT) for item in drawn
        )
        session.add(
            Event(
                kind="calibration_started",
                annotator_id=author_id,
                data={"project_id": project_id, "round": name, "n": len(drawn)},
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
        for row in session.execute(
            sa.select(
                Annotation.task_id,
                Annotator.name,
                Annotation.finish_reason,
                Annotation.first_error,
                Preference.choice,
                CritiqueJudgement.judgement,
            )
            .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
            .outerjoin(Preference, Preference.annotation_id == Annotation.annotation_id)
            .outerjoin(CritiqueJudgement, CritiqueJudgement.annotation_id == Annotation.annotation_id)
            .where(Annotation.task_id.in_([row.task_id for row in tasks]), Annotation.superseded_by_id.is_(None))
            .order_by(Annotator.name)
        ):
            words = _CHOICES.get(row.choice) or row.judgement or _words(row.finish_reason, row.first_error)
            answers.setdefault(row.task_id, {})[row.name] = words
        return [
            CalibrationTask(
                task_id=row.task_id,
                statement=row.statement,
                known=None if row.answer is None else _known_words(row.answer),
                answers=answers.get(row.task_id, {}),
                is_unanimous=len(set(answers.get(row.task_id, {}).values())) <= 1,
            )
            for row in tasks
        ]


def _words(finish_reason: str | None, first_error: int | None) -> str:
    if finish_reason not in JUDGED:
        return (finish_reason or "unknown").replace("_", " ")
    return "no error" if first_error is None else f"step {first_error + 1}"


def _known_words(answer: Mapping[str, Any]) -> str:
    if "choice" in answer:
        return _CHOICES[answer["choice"]]
    if "judgement" in answer:
        return str(answer["judgement"])
    first = next((index for index, label in enumerate(answer["labels"]) if label == -1), None)
    return _words("solution", first)


def _drawn(session: Session, project: Project, *, n: int, source: str, seed: int) -> list[Wanted]:
    """Things that can be labelled and are in no round of the project yet, at random."""
    if project.kind == "preference":
        pairs = random_pairs(
            session,
            source=source,
            limit=n,
            seed=seed,
            project_id=project.project_id,
            purpose="calibration",
        )
        return [Wanted(a, other_solution_id=b) for a, b in pairs]
    is_round = sa.and_(
        # An expression, so that the planner goes by the solution.
        sa.func.coalesce(Task.project_id, 0) == project.project_id,
        Task.purpose == "calibration",
    )
    if project.kind == "critique":
        rows = session.execute(
            sa.select(Critique.solution_id, Critique.critique_id)
            .join(Solution, Solution.solution_id == Critique.solution_id)
            .where(
                solution_in_source(source),
                Critique.target_critique_id.is_(None),
                ~sa.exists().where(Task.critique_id == Critique.critique_id, is_round),
            )
            .order_by(sa.func.random())
            .limit(n)
        )
        return [Wanted(solution_id, critique_id=critique_id) for solution_id, critique_id in rows]
    ids = session.scalars(
        sa.select(Solution.solution_id)
        .where(solution_in_source(source), ~sa.exists().where(Task.solution_id == Solution.solution_id, is_round))
        .order_by(sa.func.random())
        .limit(n)
    )
    found = [Wanted(solution_id) for solution_id in ids]
    facts = Facts(session, found, "steps", "first_error")
    return [item for item in found if facts.unfit(item) is None]
